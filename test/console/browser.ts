/**
 * The system's Chromium, driven over its own protocol. Not found, a test fails and names the command that brings it; nothing is skipped.
 * Screenshots go to a temporary folder, or where PLAYHEAD_SCREENSHOTS says.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
const screenshots = process.env['PLAYHEAD_SCREENSHOTS'] ?? join(tmpdir(), 'playhead-screenshots')

function executable(): string {
  const given = process.env['PLAYHEAD_CHROMIUM']
  if (given !== undefined) return given
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of names) if (existsSync(join(folder, name))) return join(folder, name)
  }
  throw new Error(
    `the console is tested in Chromium: found none of ${names.join(', ')} in PATH; run 'apt-get install chromium' (Debian, Ubuntu), or set PLAYHEAD_CHROMIUM to its path`,
  )
}

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: executable(), args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

/** A page that fails the test on any error of a script, and on anything that the content policy has stopped. */
export async function openPage(browser: Browser, options: Parameters<Browser['newPage']>[0] = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options })
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.stack ?? error.message))
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  return { page, errors }
}

export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true })
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
}
