"use strict";
history.replaceState(null, "", "/"); // the token stays in a cookie, not in the address

const place = document.getElementById("now");
const silence = document.createElement("p");
silence.setAttribute("role", "alert");
silence.className = "todo act";
let heard = new Date();

async function show() {
  try {
    const answer = await fetch("/now");
    if (!answer.ok) throw new Error(await answer.text());
    // Text of this machine's own server, in which names are escaped.
    place.innerHTML = await answer.text();
    document.title = place.querySelector("h1").textContent;
    heard = new Date();
  } catch (error) {
    document.title = "chajong watch: no answer";
    if (!silence.isConnected) {
      silence.textContent = `No answer since ${heard.toLocaleTimeString()}: what stands here may be old.`;
      place.prepend(silence);
    }
  }
  setTimeout(show, 2000);
}

show();
