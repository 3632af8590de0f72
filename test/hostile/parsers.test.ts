/**
 * Hostile bytes in process: frames, the headers of every row of the api table, record batches. Whatever comes, there is a value or a
 * typed error, and no more memory than the bytes deserve. The same over a socket is in served.test.ts; what once got through, or is meant to
 * be nasty, lies in corpus/. A failure names seed and round: SEED=… runs it again.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { apis } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { decompressRecordsSync } from '../../protocol/compression.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { decodeEvent } from '../../protocol/event.ts'
import { FrameReader } from '../../protocol/frame.ts'
import { decodeHeader, encodeHeader } from '../../protocol/header-codec.ts'
import type { Field } from '../../protocol/header-schema.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import {
  checkAnyBatch,
  checkBatch,
  RecordBatch,
  recordCount,
  splitBatches,
  stampBatch,
} from '../../protocol/record-batch.ts'
import { BatchKeys } from '../../storage/batch-streams.ts'
import { freshSeed } from '../client/seeded-random.ts'
import { exampleFrames } from '../protocol/example-frames.ts'
import { mutateBatch, plainBatches } from './batch-mutation.ts'
import { mutateBytes } from './byte-mutation.ts'
import { Dice } from './dice.ts'
import { encodeTree, mutateHeader } from './header-mutation.ts'

const seed = freshSeed()
/** What the process may grow by while it is fed; looked at when the collector has been by. */
const grownBytesMax = 256 * MiB
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const frameBytesMax = 64 * KiB

interface CorpusEntry {
  readonly what: string
  readonly hex: string
}

function corpus(file: string): CorpusEntry[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'corpus', file), 'utf8')) as CorpusEntry[]
}

/** Runs `round` so often; says what was seen, and where it was when it failed. */
async function fuzz(count: number, round: (dice: Dice) => Buffer, check: (bytes: Buffer) => void): Promise<string> {
  const dice = new Dice(seed)
  const before = process.memoryUsage.rss()
  let refused = 0
  for (let index = 0; index < count; index++) {
    const bytes = round(dice)
    try {
      check(bytes)
    } catch (error) {
      if (!isPlayheadError(error) || error.code === 'internal')
        throw new Error(`seed ${seed}, round ${index}: ${bytes.toString('hex').slice(0, 4096)}`, { cause: error })
      refused++
    }
    if (index % 8192 === 0) {
      // Memory outside the heap is given back in turns of the event loop.
      await setImmediate()
      collect()
      const grown = process.memoryUsage.rss() - before
      assert.ok(grown < grownBytesMax, `seed ${seed}, round ${index}: grown by ${grown} bytes`)
    }
  }
  // Both must come, or the mutations are too tame or too wild to find anything.
  assert.ok(refused > count / 100 && refused < count, `seed ${seed}: ${refused} of ${count} refused`)
  return `seed ${seed}: ${refused} of ${count} refused`
}

const trees = exampleFrames.map(({ field, header }) => ({ field, tree: field.pack(header) }))
const headers = trees.map(({ tree }) => encodeTree(tree))

test('hostile: headers of every api are read or refused as malformedHeader (200,000 mutations of headers)', async (t) => {
  for (const { field, header } of exampleFrames) decodeHeader(field, encodeHeader(field, header))
  const fields = [
    ...Object.values(apis).flatMap((row) => [row.request as Field<unknown>, row.reply as Field<unknown>]),
    failure as Field<unknown>,
  ]
  let turn: Field<unknown> = failure
  const said = await fuzz(
    200_000,
    (dice) => {
      const { field, tree } = dice.pick(trees)
      // Now and then one row's header under another row's schema.
      turn = dice.oneIn(10) ? dice.pick(fields) : field
      return mutateHeader(tree, dice, headers)
    },
    (bytes) => {
      try {
        const again = encodeHeader(turn, decodeHeader(turn, bytes))
        // What was let in is of the schema: it goes out, comes in and goes out again the same.
        assert.ok(encodeHeader(turn, decodeHeader(turn, again)).equals(again))
      } catch (error) {
        if (isPlayheadError(error)) assert.equal(error.code, 'malformedHeader')
        throw error
      }
    },
  )
  t.diagnostic(said)
})

test('hostile: bytes on a connection are frames or a typed error, in memory that grows with what arrived (500,000 mutations)', async (t) => {
  const frames = exampleFrames.map(({ bytes }) => bytes)
  let dice = new Dice(seed)
  const said = await fuzz(
    500_000,
    (random) => {
      dice = random
      const several = [dice.pick(frames), dice.pick(frames)]
      return mutateBytes(Buffer.concat(several), dice, frames)
    },
    (bytes) => {
      const reader = new FrameReader(frameBytesMax)
      for (let at = 0; at < bytes.length; ) {
        const end = dice.oneIn(2) ? bytes.length : Math.min(bytes.length, at + 1 + dice.below(200))
        const room = reader.room()
        const piece = bytes.subarray(at, Math.min(end, at + room.length))
        if (dice.oneIn(2)) {
          piece.copy(room)
          reader.push(room.subarray(0, piece.length))
        } else reader.push(piece)
        at += piece.length
        assert.ok(room.length <= MiB, `room of ${room.length} bytes`)
        assert.ok(reader.arrivingBytes <= frameBytesMax + 4, `waits for ${reader.arrivingBytes} bytes`)
        for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
          assert.ok(frame.header.length + frame.body.length <= frameBytesMax)
        }
      }
      assert.ok(reader.waitingBytes <= bytes.length)
    },
  )
  t.diagnostic(said)
})

/** All that a broker, and a reader, does with a batch. What the broker lets in must be readable to its end. */
function digest(bytes: Buffer): void {
  let isLetIn = false
  try {
    checkBatch(bytes, 0, bytes.length)
    const records = decompressRecordsSync(bytes, 0, MiB)
    BatchKeys.of(records, 0, recordCount(bytes)).streams()
    stampBatch(bytes, 0, 7, 3)
    isLetIn = true
  } catch (error) {
    if (!isPlayheadError(error)) throw error
  }
  try {
    for (const batch of splitBatches(bytes)) {
      for (const record of batch) {
        assert.ok(!isLetIn || Number.isSafeInteger(record.offset))
        JSON.stringify(decodeEvent(record, 0, 0))
      }
    }
  } catch (error) {
    assert.ok(!isLetIn, `let in, and then: ${String(error)}`)
    throw error
  }
}

test('hostile: record batches are refused, or let in and then readable to the last record (200,000 mutations)', async (t) => {
  const batches = plainBatches(1_306_886_400_000)
  // Compressing takes most of the time: two of three are what is not compressed.
  const plain = batches.slice(0, 3)
  for (const batch of batches) digest(batch)
  const said = await fuzz(
    200_000,
    (dice) => mutateBatch(dice.pick(dice.oneIn(3) ? batches : plain), dice, batches),
    digest,
  )
  t.diagnostic(said)
})

test('hostile: the corpus of headers is refused by every api, and the corpus of batches by whoever reads it', () => {
  const entries = corpus('headers.json')
  for (const { what, hex } of entries) {
    for (const { request, reply } of Object.values(apis)) {
      for (const field of [request as Field<unknown>, reply as Field<unknown>]) {
        assert.throws(() => decodeHeader(field, Buffer.from(hex, 'hex')), { code: 'malformedHeader' }, what)
      }
    }
  }
  const batches = corpus('batches.json')
  for (const { what, hex } of batches) {
    const bytes = Buffer.from(hex, 'hex')
    assert.throws(
      () => {
        checkAnyBatch(bytes, 0, bytes.length)
        BatchKeys.of(decompressRecordsSync(bytes, 0, MiB), 0, recordCount(bytes))
        for (const record of new RecordBatch(bytes)) assert.ok(record)
      },
      (error) => isPlayheadError(error) && error.code !== 'internal',
      what,
    )
  }
  assert.ok(entries.length > 10 && batches.length > 5)
})
