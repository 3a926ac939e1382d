// A headless Chromium at a page behind HTTPS. Prints a line after each step, and waits for one where the test has something to do.
//
//     node wss_browser.js URL
"use strict";

const { PATIENCE, launch, run, tell, told } = require("./headless.js");

const [url] = process.argv.slice(2);

// In the page: one WebSocket, what it hears, and its end.
function open(size) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/ws`);
    const heard = [];
    socket.binaryType = "arraybuffer";
    window.end = new Promise((over) => socket.addEventListener("close", ({ code, wasClean }) => over({ code, wasClean })));
    socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
    socket.addEventListener("open", () => {
      socket.send("grüße");
      socket.send(Uint8Array.from({ length: size }, (_, place) => place % 251));
      socket.send("?");
    });
    socket.addEventListener("message", ({ data }) => {
      heard.push(data);
      if (heard.length === 3) {
        const [text, binary, cookie] = heard;
        const bytes = new Uint8Array(binary);
        const whole = bytes.length === size && bytes.every((byte, place) => byte === place % 251);
        resolve({ text, whole, cookie });
      }
    });
  });
}

async function main() {
  const browser = await launch("--ignore-certificate-errors");

  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const answer = await page.goto(url);
  const cookies = (await context.cookies()).map(({ name, value, secure, sameSite }) => ({ name, value, secure, sameSite }));
  tell({ status: answer.status(), cookies });
  tell(await page.evaluate(open, 200000));

  await told();
  tell(await page.evaluate("window.end"));
}

run(main);
