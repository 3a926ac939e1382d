// What the scripts with a headless Chromium share: they print a line after each step, and wait for one where the test has something to do.
"use strict";

const { chromium } = require("playwright-core");

// How long a step may take, in milliseconds.
const PATIENCE = 8000;

function tell(it) {
  process.stdout.write(JSON.stringify(it) + "\n");
}

function told() {
  return new Promise((resolve) => process.stdin.once("data", resolve));
}

// Starts the browser. It ends with the input of the script.
async function launch(...further) {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    chromiumSandbox: false,
    args: [
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-gpu",
      "--disable-quic",
      "--disable-sync",
      "--no-first-run",
      "--no-proxy-server",
      ...further,
    ],
  });
  process.stdin.on("end", () => browser.close().finally(() => process.exit()));
  return browser;
}

function run(main) {
  process.stdin.resume();
  main().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { PATIENCE, launch, run, tell, told };
