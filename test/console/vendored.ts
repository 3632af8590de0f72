/**
 * What console/vendor/ holds: files of pinned packages, as they are but for the names of what they import: a browser has no node_modules.
 * `node test/console/vendored.ts` writes them anew after a change of version; vendored.test.ts compares.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(import.meta.dirname, '..', '..')
export const vendorFolder = join(root, 'console', 'vendor')

const rows = [
  ['preact.js', 'preact/dist/preact.mjs', 'preact'],
  ['hooks.js', 'preact/hooks/dist/hooks.mjs', 'preact'],
  ['htm.js', 'htm/dist/htm.module.js', 'htm'],
  ['uplot.js', 'uplot/dist/uPlot.esm.js', 'uplot'],
  ['uplot.css', 'uplot/dist/uPlot.min.css', 'uplot'],
] as const

export function vendoredFiles(): { name: string; text: string }[] {
  return rows.map(([name, path, from]) => {
    const { version, license } = JSON.parse(readFileSync(join(root, 'node_modules', from, 'package.json'), 'utf8')) as {
      version: string
      license: string
    }
    const text = readFileSync(join(root, 'node_modules', path), 'utf8')
      .replace(/\n?\/\/# sourceMappingURL=.*\n?/, '\n')
      .replace(/from\s*"preact"/g, 'from"./preact.js"')
    return { name, text: `/* ${from} ${version}, ${license}: see LICENSES.md */\n${text}` }
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, text } of vendoredFiles()) writeFileSync(join(vendorFolder, name), text)
}
