/**
 * The system's Chromium, driven over its own protocol. Where there is none it is installed as a Debian package; where that is not possible a test fails and names
 * the command that brings it; nothing is skipped.
 * Screenshots go to a temporary folder, or where PLAYHEAD_SCREENSHOTS says.
 */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { findProgram, needPrograms } from '../../bench/rivals/tool.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
const screenshots = process.env['PLAYHEAD_SCREENSHOTS'] ?? join(tmpdir(), 'playhead-screenshots')

/** Its path; undefined = none is in PATH. */
function installed(): string | undefined {
  return names.map(findProgram).find((path) => path !== undefined)
}

/** PLAYHEAD_CHROMIUM is the path of one that is not in PATH. */
export async function openBrowser(): Promise<Browser> {
  const found = process.env['PLAYHEAD_CHROMIUM'] ?? installed()
  if (found === undefined) await needPrograms(names.slice(0, 1), ['chromium'])
  const executablePath = found ?? installed()
  assert.ok(executablePath !== undefined)
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
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
