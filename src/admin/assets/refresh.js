// Keeps the overview up to date. Without this script the page is as good, but stands still until it is loaded again.
"use strict";

const EVERY_MS = 5000;

const busy = (part) =>
  part.contains(document.activeElement) || (getSelection() && !getSelection().isCollapsed);

const typing = () => document.activeElement && document.activeElement.matches("input");

async function refresh() {
  if (document.hidden || typing()) return;
  const answer = await fetch("/admin", { headers: { accept: "text/html" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") {
    location.reload(); // the session is over: to the login
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (typing()) return; // somebody has begun meanwhile
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    // Whoever has come here by keyboard, or has marked a text, is not pulled away from it.
    if (next && !busy(part)) part.replaceWith(next);
  }
}

setInterval(() => refresh().catch(() => {}), EVERY_MS); // a service that is away is asked again
document.addEventListener("visibilitychange", () => refresh().catch(() => {}));

// A message is told once, and not again when the page is loaded again.
if (location.search.includes("flash=")) history.replaceState(null, "", location.pathname);
