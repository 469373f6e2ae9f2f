// Keeps the operations page fresh: asks for its sections and puts in what has changed. It rests
// while nobody sees the page, and says so when it can't ask.
"use strict";
(() => {
  const page = document.getElementById("operations");
  const asOf = document.getElementById("operations-as-of");
  const trouble = document.getElementById("operations-trouble");
  const button = document.getElementById("operations-pause");
  const wait = Number(page.dataset.seconds) * 1000;
  const patience = 10000;
  let timer = 0, isPaused = false, isOut = false, isAsking = false;

  function say(text) {
    // Written only when it changes: a screen reader reads it out each time.
    if (trouble.textContent !== text) trouble.textContent = text;
  }

  function replace(old, section) {
    if (old.outerHTML !== section.outerHTML) old.replaceWith(document.adoptNode(section));
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("operations-sections");
    const shown = document.getElementById("operations-sections");
    if (!fresh) throw new Error("not the sections");
    const pairs = [...fresh.querySelectorAll("section[id]")].map(
      (section) => [document.getElementById(section.id), section]);
    // Another release may answer by now, and have other sections.
    const isSame = pairs.every(([old]) => old) && pairs.length === shown.querySelectorAll("section[id]").length;
    if (isSame) for (const [old, section] of pairs) replace(old, section);
    else shown.replaceWith(document.adoptNode(fresh));
    asOf.textContent = fresh.dataset.asOf;
  }

  async function ask() {
    // A login page instead of an answer, or none for this person any more.
    const options = { credentials: "same-origin", redirect: "manual", cache: "no-store" };
    const answer = await fetch(page.dataset.url, { ...options, signal: AbortSignal.timeout(patience) });
    isOut = answer.type === "opaqueredirect" || answer.status === 403;
    if (isOut) return page.dataset.out;
    if (!answer.ok) return page.dataset.lost;
    show(await answer.text());
    return "";
  }

  async function refresh() {
    if (isAsking) return;
    isAsking = true;
    say(await ask().catch(() => page.dataset.lost));
    isAsking = false;
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!isPaused && !isOut && !document.hidden) timer = setTimeout(refresh, wait);
  }

  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? page.dataset.resume : page.dataset.pause;
    if (isPaused) plan(); else refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || isPaused || isOut) plan(); else refresh();
  });
  button.hidden = false;
  plan();
})();
