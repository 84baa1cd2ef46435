/** Text of LLMs and users, with everything made visible that would reorder it, hide in it, or stand over other lines: by the
 * rules of api/safe_text.py. */

const INVISIBLE = "\\x80-\\x9f\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb" +
  "\\ud800-\\udfff\\u{e0000}-\\u{e007f}"
const DANGEROUS = new RegExp(`[\\x00-\\x08\\x0b-\\x1f\\x7f${INVISIBLE}]`, "gu")
const MARKS = "\\u0300-\\u036f\\u0483-\\u0489\\u1ab0-\\u1aff\\u1dc0-\\u1dff\\u20d0-\\u20ff\\ufe20-\\ufe2f"
const TOWER = new RegExp(`([${MARKS}]{8})[${MARKS}]+`, "gu")

export function visible(text) {
  return text.replaceAll("\r\n", "\n").replace(DANGEROUS, shown).replace(TOWER, "$1…")
}

function shown(character) {
  const code = character.codePointAt(0)
  return code < 0x20 || code === 0x7f ? `^${String.fromCharCode(code ^ 0x40)}` : `\\u{${code.toString(16)}}`
}
