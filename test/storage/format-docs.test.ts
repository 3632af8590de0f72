/** The examples in docs/formats are what the code writes. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { packOffsets } from '../../storage/postings.ts'
import { murmur2 } from '../../protocol/murmur2.ts'
import { BlockBuilder, encodeHeadBlock } from '../../storage/head-block.ts'
import { headBlockKey, logPrefix } from '../../storage/index-keys.ts'
import { KeyTable } from '../../storage/key-table.ts'

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

test('docs/formats/cache.md: the example is a head block', async () => {
  const prefix = logPrefix(Buffer.from('00112233445566778899aabbccddeeff', 'hex'), 2)
  const tail = Buffer.alloc(24)
  const tailBytes = packOffsets([1000, 1001, 1003], 0, 3, -1, tail, 0)
  const head = { lastVersion: 2, firstVersion: 0, lastOffset: 1003, tailCount: 3, tail: tail.subarray(0, tailBytes) }
  const [keys, block, name] = [new KeyTable(), new BlockBuilder(), Buffer.from('customer-17850')]
  block.add(keys, keys.add(name, 0, name.length, murmur2(name)), head)
  const value = encodeHeadBlock(undefined, block.take())
  const wanted = [headBlockKey(prefix, Buffer.alloc(0)), value].map((bytes) => bytes.toString('hex'))
  assert.deepEqual(await hexOf('docs/formats/cache.md'), wanted)
})
