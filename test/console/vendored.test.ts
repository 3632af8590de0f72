import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { vendorFolder, vendoredFiles } from './vendored.ts'

test('console/vendor holds the pinned packages and nothing else (node test/console/vendored.ts writes it anew)', () => {
  const files = vendoredFiles()
  for (const { name, text } of files) assert.equal(readFileSync(join(vendorFolder, name), 'utf8'), text, name)
  assert.deepEqual(readdirSync(vendorFolder).toSorted(), [...files.map(({ name }) => name), 'LICENSES.md'].toSorted())
})
