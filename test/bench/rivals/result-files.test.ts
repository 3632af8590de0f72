import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ResultFiles } from '../../../bench/rivals/result-files.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { runResult } from './run-result.ts'

test('result files: two results of a day lie beside each other and come back in the order they were made', async () => {
  await using directory = await TemporaryDirectory.make()
  await mkdir(join(directory.path, 'docs'))
  const files = new ResultFiles(directory.path)
  const [first, second] = [runResult(10), runResult(20)]
  assert.equal(await files.write(second), join('bench', 'results', '2026-01-01.json'))
  assert.equal(await files.write(first), join('bench', 'results', '2026-01-01-2.json'))
  assert.deepEqual(await files.read(), [first, second])
  await files.writePage()
  assert.match(await readFile(join(directory.path, 'docs', 'benchmarks.md'), 'utf8'), /5\.00x/)
  assert.match(await readFile(join(directory.path, 'docs', 'benchmarks.svg'), 'utf8'), /^<svg /)
})
