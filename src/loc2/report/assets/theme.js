"use strict";
// Light and dark: as the system says, until the button says otherwise.
{
  const button = document.getElementById("theme");
  const names = ["auto", "dark", "light"];
  let chosen = 0;
  button.addEventListener("click", () => {
    chosen = (chosen + 1) % names.length;
    if (chosen) document.documentElement.dataset.theme = names[chosen];
    else delete document.documentElement.dataset.theme;
    button.textContent = `Theme: ${names[chosen]}`;
  });
}
