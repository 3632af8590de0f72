import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')

test('guarantees: every test that docs/guarantees.md names is there', () => {
  const text = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')
  const named = [...text.matchAll(/^- \[(test\/[^\]]+)\]\([^)]+\): `(.+)`$/gm)]
  const missing = named.filter(([, file = '', name = '']) => !readFileSync(join(root, file), 'utf8').includes(name))
  assert.deepEqual(
    missing.map(([, file, name]) => `${file}: ${name}`),
    [],
  )
  assert.ok(named.length >= 30, `${named.length} tests named`)
})
