"use strict";
history.replaceState(null, "", "/"); // the token stays in a cookie, not in the address

const place = document.getElementById("now");

async function show() {
  try {
    const answer = await fetch("/now");
    if (!answer.ok) throw new Error(await answer.text());
    // Text of this machine's own server, in which names are escaped.
    place.innerHTML = await answer.text();
    document.title = place.querySelector("h1").textContent;
  } catch (error) {
    document.title = "chajong watch: no answer";
  }
  setTimeout(show, 2000);
}

show();
