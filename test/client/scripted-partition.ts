/** ScriptedPartition: the contract of one partition in the plainest form: offsets, versions, conditions, and the producers' sequences. */
import { PlayheadError } from '../../protocol/errors.ts'
import type { Expectation } from '../../protocol/append.ts'
import { RecordBatch, checkBatch, encodeSparseBatch, stampBatch } from '../../protocol/record-batch.ts'
import type { LogRecord } from '../../protocol/record.ts'

interface Verdict {
  baseOffset: number
  duplicate: boolean
  versions: number[]
}

interface ProducerState {
  epoch: number
  lastSequence: number
  lastOffset: number
  /** By first sequence; never forgotten here. */
  readonly batches: Map<number, { lastSequence: number; verdict: Verdict }>
}

export class ScriptedPartition {
  readonly batches: RecordBatch[] = []
  readonly producers = new Map<number, ProducerState>()
  readonly heads = new Map<string, number>()
  endOffset = 0

  append(bytes: Buffer, expected: readonly Expectation[]): Verdict {
    checkBatch(bytes, 0, bytes.length)
    const batch = new RecordBatch(Buffer.from(bytes))
    const known = this.#known(batch)
    if (known !== undefined) return { ...known, duplicate: true }
    this.#advance(batch)
    const conflicts = expected
      .map(({ stream, version }) => ({ stream, expected: version, found: this.heads.get(stream) ?? -1 }))
      .filter((condition) => condition.expected !== condition.found)
    if (conflicts.length > 0) {
      const [{ stream, expected: wanted, found }] = conflicts as [(typeof conflicts)[0]]
      const message = `${stream}: expected ${wanted}, found ${found}`
      throw new PlayheadError('wrongExpectedVersion', message, {}, conflicts)
    }
    stampBatch(batch.bytes, 0, this.endOffset, 0)
    const verdict = {
      baseOffset: this.endOffset,
      duplicate: false,
      versions: [...batch].map((record) => this.#next(record)),
    }
    this.endOffset += batch.recordCount
    this.batches.push(batch)
    if (batch.producerId >= 0) {
      const state = this.producers.get(batch.producerId)!
      state.lastOffset = this.endOffset - 1
      const lastSequence = batch.baseSequence + batch.recordCount - 1
      state.batches.set(batch.baseSequence, { lastSequence, verdict })
    }
    return verdict
  }

  get records(): LogRecord[] {
    return this.batches.flatMap((batch) => [...batch])
  }

  readStream(
    stream: string,
    from: number,
    limit: number,
  ): { body: Buffer; versions: number[]; nextVersion: number | undefined } {
    const all = this.records.filter(({ key }) => key?.toString() === stream)
    const chosen = all.slice(from, from + limit)
    return {
      body: chosen.length === 0 ? Buffer.alloc(0) : encodeSparseBatch(chosen),
      versions: chosen.map((_, index) => from + index),
      nextVersion: from + limit < all.length ? from + limit : undefined,
    }
  }

  #known(batch: RecordBatch): Verdict | undefined {
    const state = this.producers.get(batch.producerId)
    if (state === undefined || state.epoch !== batch.producerEpoch) return undefined
    const found = state.batches.get(batch.baseSequence)
    if (found !== undefined && found.lastSequence === batch.baseSequence + batch.recordCount - 1) return found.verdict
    if (batch.baseSequence > state.lastSequence) return undefined
    const message = `producer ${batch.producerId}: found sequence ${batch.baseSequence}, wanted more than ${state.lastSequence}`
    throw new PlayheadError('outOfOrderSequence', message)
  }

  #advance(batch: RecordBatch): void {
    if (batch.producerId < 0) return
    const lastSequence = batch.baseSequence + batch.recordCount - 1
    const state = this.producers.get(batch.producerId)
    if (state !== undefined) state.lastSequence = lastSequence
    else
      this.producers.set(batch.producerId, {
        epoch: batch.producerEpoch,
        lastSequence,
        lastOffset: -1,
        batches: new Map(),
      })
  }

  #next({ key }: LogRecord): number {
    if (key === null) return -1
    const version = (this.heads.get(key.toString()) ?? -1) + 1
    this.heads.set(key.toString(), version)
    return version
  }
}
