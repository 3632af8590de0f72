import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { apis } from '../../protocol/api.ts'
import { errorTable } from '../../protocol/errors.ts'
import { exampleFrames } from './example-frames.ts'
import { pages, renewed } from './protocol-doc.ts'

const pageText = (page: string): string =>
  readFileSync(fileURLToPath(new URL(`../../${page}`, import.meta.url)), 'utf8')

for (const page of pages) {
  test(`protocol doc: the generated parts of ${page} are what the code says`, () => {
    assert.equal(pageText(page), renewed(page), 'stale: run node test/protocol/protocol-doc.ts')
  })
}

test('protocol doc: every api, every error and every golden frame is in docs/protocol.md', () => {
  const text = pageText('docs/protocol.md')
  const wanted = [
    ...Object.keys(apis).map((name) => `### ${name}\n`),
    ...Object.entries(errorTable).map(([code, { number }]) => `| ${number} | \`${code}\` |`),
    ...exampleFrames.map(({ name }) => `\`${name}\`\n`),
  ]
  assert.deepEqual(
    wanted.filter((part) => !text.includes(part)),
    [],
  )
})
