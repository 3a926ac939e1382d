// Takes pictures of the live page of the admin API, while make_screenshots.py drives a load balancer behind it.
//
//     node admin_screenshots.js URL FOLDER
//
// Prints a line when it is ready and after each picture, and waits for a line before each.
"use strict";

const path = require("node:path");
const { launch, run, tell, told } = require("./headless.js");

const [url, folder] = process.argv.slice(2);

async function open(browser, settings) {
  const page = await (await browser.newContext({ reducedMotion: "reduce", ...settings })).newPage();
  await page.goto(url);
  await page.locator("#link[data-is=live]").waitFor();
  return page;
}

async function main() {
  const browser = await launch();
  const desk = await open(browser, { viewport: { width: 1440, height: 940 }, colorScheme: "light" });
  const phone = await open(browser, { viewport: { width: 360, height: 760 }, colorScheme: "dark", deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  const shoot = async (page, name) => {
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    await page.screenshot({ path: path.join(folder, name) });
    tell({ name });
  };
  tell({ open: true });

  await told();
  await shoot(desk, "admin-load.png");
  await told();
  await desk.locator("nav a[data-to=targets]").click();
  await desk.locator("#targets tbody button.name").first().click();
  await shoot(desk, "admin-failing-target.png");
  await told();
  await desk.keyboard.press("Escape");
  await desk.locator("nav a[data-to=tunnels]").click();
  await desk.locator("#tunnels tbody tr").first().waitFor();
  await shoot(desk, "admin-tunnels.png");
  await told();
  await shoot(phone, "admin-phone.png");
}

run(main);
