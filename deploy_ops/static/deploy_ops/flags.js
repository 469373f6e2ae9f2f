// A slider beside the number of a rollout. Without it the number does everything.
"use strict";
for (const number of document.querySelectorAll("input[data-slider]")) {
  const slider = document.createElement("input");
  slider.type = "range";
  for (const name of ["min", "max"]) slider[name] = number[name];
  // Whole percents by mouse; the number and the arrow keys in it take hundredths.
  slider.step = 1;
  slider.value = number.value || 0;
  slider.disabled = number.disabled;
  slider.setAttribute("aria-label", number.dataset.slider);
  slider.addEventListener("input", () => { number.value = slider.value; });
  number.addEventListener("input", () => { slider.value = number.value || 0; });
  number.after(slider);
}
