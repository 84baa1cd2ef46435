"""One node as a service: sessions, answers, polls, events. No layout, no terminal."""
