/** The examples in docs/formats are what the code writes. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { packOffsets } from '../../storage/postings.ts'
import { encodeHead, headKey, logPrefix } from '../../storage/index-keys.ts'

const root = new URL('../../', import.meta.url)

/** The lines of the one ```hex block of a document. */
async function hexOf(document: string): Promise<string[]> {
  const text = await readFile(new URL(document, root), 'utf8')
  return /```hex\n([0-9a-f\n]+)```/.exec(text)?.[1]?.trimEnd().split('\n') ?? []
}

test('docs/formats/sidecar.md: the example is the golden file', async () => {
  const golden = await readFile(new URL('test/golden/sidecar-v1.bin', root))
  assert.equal((await hexOf('docs/formats/sidecar.md')).join(''), golden.toString('hex'))
})

test('docs/formats/cache.md: the example is a head', async () => {
  const prefix = logPrefix(Buffer.from('00112233445566778899aabbccddeeff', 'hex'), 2)
  const tail = Buffer.alloc(24)
  const tailBytes = packOffsets([1000, 1001, 1003], 0, 3, -1, tail, 0)
  const head = { lastVersion: 2, firstVersion: 0, lastOffset: 1003, tailCount: 3, tail: tail.subarray(0, tailBytes) }
  const wanted = [headKey(prefix, 'customer-17850'), encodeHead(head)].map((bytes) => bytes.toString('hex'))
  assert.deepEqual(await hexOf('docs/formats/cache.md'), wanted)
})
