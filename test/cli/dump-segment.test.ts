/** playhead dump segment: every byte of a file is in one piece, in order; damage is named and gone past; people and programs read the same. */
import assert from 'node:assert/strict'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathsIn } from '../storage/paths-in.ts'
import { append, group, StoreUnderTest, until } from '../storage/store-under-test.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { runPlayhead } from './run-playhead.ts'

interface Piece {
  readonly kind: string
  readonly position: number
  readonly endPosition: number
  readonly baseOffset?: number
  readonly [field: string]: unknown
}

/** Two segments: a sealed one with its sidecar, and the active one with three batches. Answers their paths. */
async function write(directory: string): Promise<[sealed: string, active: string]> {
  {
    await using opened = await StoreUnderTest.open(directory)
    const log = await opened.createLog('carts', { 'segment.bytes': '1048576' })
    await append(log, `big=${'x'.repeat(1_048_400)}`)
    await append(log, 'a=one', '=nobody')
    await log.append(group(['b=two', 'a=three'], { batchOptions: { compression: 'zstd' } }))
    const producer = { producerId: 7, producerEpoch: 1, baseSequence: 4 }
    await log.append(group(['c=four'], { batchOptions: producer }))
    // A stop ends a sealing that is under way: the next start would do it.
    await until(async () => (await pathsIn(directory, '.idx')).length === 1)
  }
  const [sealed, active] = await pathsIn(directory, '.log')
  return [sealed!, active!]
}

async function dump(...args: string[]): Promise<{ pieces: Piece[]; code: number | null; stderr: string }> {
  const { stdout, stderr, code } = await runPlayhead(['dump', 'segment', ...args, '--json'])
  const lines = stdout.split('\n').slice(0, -1)
  return { pieces: lines.map((line) => JSON.parse(line) as Piece), code, stderr }
}

/** From the first byte behind the header to the last. */
function assertCovers(pieces: readonly Piece[], sizeBytes: number): void {
  let at = 64
  for (const { kind, position, endPosition } of pieces) {
    if (kind === 'header' || kind === 'record' || kind === 'sidecar' || position < at) continue
    assert.equal(position, at)
    at = endPosition
  }
  assert.equal(at, sizeBytes)
}

test('dump segment: frames, records and sidecar of sound files, for people and as JSON', async () => {
  await using directory = await TemporaryDirectory.make()
  const [sealed, active] = await write(directory.path)
  const { pieces, code } = await dump(active, '--records')
  assert.equal(code, 0)
  assertCovers(pieces, (await readFile(active)).length)
  const batches = pieces.filter(({ kind }) => kind === 'batch')
  assert.deepEqual(
    batches.map(({ baseOffset, lastOffset, codec }) => [baseOffset, lastOffset, codec]),
    [
      [1, 2, 'none'],
      [3, 4, 'zstd'],
      [5, 5, 'none'],
    ],
  )
  assert.deepEqual(batches[2]!['producer'], { id: 7, epoch: 1, sequence: 4 })
  const records = pieces.filter(({ kind }) => kind === 'record')
  assert.deepEqual(
    records.map(({ offset, key, value }) => [offset, key, value]),
    [
      [1, 'a', 'one'],
      [2, null, 'nobody'],
      [3, 'b', 'two'],
      [4, 'a', 'three'],
      [5, 'c', 'four'],
    ],
  )
  const whole = await dump(sealed)
  const sidecar = whole.pieces.at(-1)!
  assert.deepEqual([sidecar.kind, (sidecar['footer'] as { records: number }).records], ['sidecar', 1])
  const text = await runPlayhead(['dump', 'segment', active, '--records'])
  assert.match(text.stdout, /^at 0: header: topic .*\nat 64 to \d+: offsets 1 to 2, 2 records, appended 20/)
  assert.match(text.stdout, /\n {2}4 {2}.*"a" {2}"three"\n/)
  assert.match(text.stdout, /\nsidecar: none/)
})

test('dump segment: what is damaged is named and gone past, and the exit code is 1', async () => {
  await using directory = await TemporaryDirectory.make()
  const [sealed, active] = await write(directory.path)
  const bytes = await readFile(active)
  const sound = (await dump(active)).pieces.filter(({ kind }) => kind === 'batch')
  for (const at of [sound[1]!.position, sound[1]!.endPosition - 1]) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 4
    await writeFile(active, damaged)
    const { pieces, code } = await dump(active)
    assert.equal(code, 1)
    assertCovers(pieces, bytes.length)
    const damage = pieces.filter(({ kind }) => kind === 'damage')
    const { position, endPosition } = sound[1]!
    assert.deepEqual(
      damage.map((piece) => [piece.position, piece.endPosition]),
      [[position, endPosition]],
    )
    const found = pieces.filter(({ kind }) => kind === 'batch').map(({ baseOffset }) => baseOffset)
    assert.deepEqual(found, [1, 5])
    const text = await runPlayhead(['dump', 'segment', active])
    assert.match(text.stdout, new RegExp(`at ${position} to ${endPosition - 1}: DAMAGE: found `))
  }
  // Without a sound header the first frame tells the log's salt.
  const headless = Buffer.from(bytes)
  headless[20]! ^= 1
  await writeFile(active, headless)
  const { pieces, code } = await dump(active)
  assert.deepEqual([code, pieces[0]!.kind, pieces.filter(({ kind }) => kind === 'batch').length], [1, 'damage', 3])
  const sidecar = sealed.replace(/\.log$/, '.idx')
  const sidecarBytes = await readFile(sidecar)
  sidecarBytes[40]! ^= 1
  await writeFile(sidecar, sidecarBytes)
  const other = await dump(sealed)
  assert.deepEqual([other.code, other.pieces.at(-1)!.kind], [1, 'sidecar'])
  assert.match(String(other.pieces.at(-1)!['damage']), /\.idx/)
})

test('dump segment: zeros behind the last frame, a file that is cut off, one that is none', async () => {
  await using directory = await TemporaryDirectory.make()
  const [, active] = await write(directory.path)
  const bytes = await readFile(active)
  await truncate(active, bytes.length + 4096)
  const longer = await dump(active)
  assert.deepEqual([longer.code, longer.pieces.at(-2)!.kind], [0, 'unused'])
  const last = longer.pieces.findLast(({ kind }) => kind === 'batch')!
  await truncate(active, last.endPosition - 3)
  const shorter = await dump(active)
  assert.deepEqual([shorter.code, shorter.pieces.at(-2)!.position], [1, last.position])
  const none = await dump(join(directory.path, 'nothing.log'))
  assert.deepEqual([none.code, none.pieces], [1, []])
  assert.match(none.stderr, /^error: invalid-argument: .*nothing\.log: found no file, wanted a segment file/)
})
