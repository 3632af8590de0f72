import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { release } from '../../broker/release.ts'
import { settingsDoc } from '../../broker/settings-doc.ts'

const root = join(import.meta.dirname, '..', '..')

test('docs/configuration.md is what the tables say', async () => {
  const page = await readFile(join(root, 'docs', 'configuration.md'), 'utf8')
  assert.equal(page, settingsDoc(), 'stale: run node broker/settings-doc.ts > docs/configuration.md')
})

test('the release is that of package.json', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  assert.equal(release, version)
})
