/** What a user is asked before a conversation as a whole changes. */

import { h } from "../dom.js"

/** `fields` are what is to be filled in, by their labels; `onYes` gets what was. */
function ask(title, words, yes, onYes, fields = {}, isDanger = false) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("form", { onsubmit: (event) => {
      event.preventDefault()
      dialog.close("yes")
    } },
      h("h2", { id: "dialog-title" }, title),
      words ? h("p", {}, words) : null,
      ...Object.entries(fields).map(([label, field]) => h("p", {}, h("label", {}, `${label} `, field))),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => dialog.close() }, isDanger ? "Keep it" : "Cancel"),
        h("button", { class: isDanger ? "danger" : "main" }, yes))))
  dialog.addEventListener("close", () => {
    dialog.remove()
    if (dialog.returnValue === "yes") onYes(...Object.values(fields).map((field) => field.value.trim()))
  })
  document.body.append(dialog)
  dialog.showModal()
}

function nameField(value) {
  return h("input", { required: true, maxlength: 64, value, autocomplete: "off", spellcheck: "false" })
}

export function askToRename(context, onName) {
  ask("Rename this conversation", "", "Rename", onName, { "New name": nameField(context) })
}

export function askToFork(context, turns, onFork) {
  ask("Fork this conversation", "Another one begins with the same questions and answers; what comes later is each one's own.", "Fork",
    (name, turn) => onFork(name, Number(turn)),
    { "Name": nameField(`${context}-2`.slice(0, 64)), "Up to question": h("input", { type: "number", min: 1, max: turns, placeholder: "the last" }) })
}

export function askForTitle(title, onText) {
  ask("What users call this conversation", "", "Save", onText, { "Title": h("input", { value: title, maxlength: 200, autocomplete: "off" }) })
}

export function askForSystem(system, onText) {
  const field = h("textarea", { rows: 6 })
  field.value = system
  ask("What the LLMs are told", "Before the questions of this conversation, by every node, in place of what it tells its LLM by itself. Empty: nothing.",
    "Save", onText, { "System prompt": field })
}

export function askToDelete(onDelete) {
  ask("Delete this conversation?", "It is deleted at every node, for everybody. For a while, it can be brought back.", "Delete it", onDelete, {}, true)
}
