/**
 * playhead replay: the events of a topic as NDJSON, also as a named playhead that remembers how far it got.
 * Invariant: a playhead is only ever committed past events whose lines the reader of stdout has taken.
 */
import type { Consistency, NamedPlayhead, Place, Playhead, PlayheadPosition, ReplayOptions } from '../client/index.ts'
import { eventLine } from '../client/index.ts'
import { placeOf } from './arguments.ts'
import { OutputClosed, UsageError } from './failure-report.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'

export interface ReplayFlags {
  readonly from?: string
  readonly partition?: number
  readonly limit?: number
  readonly follow?: boolean
  readonly type: readonly string[]
  readonly as?: string
  readonly commit?: boolean
  readonly consistency?: Consistency
}

const commitMs = 1_000

export async function replay(session: Session, topic: string, flags: ReplayFlags): Promise<void> {
  if (flags.commit === true && flags.as === undefined) {
    throw new UsageError('--commit: found no --as NAME, wanted the name of the playhead to move')
  }
  const place = flags.from === undefined ? undefined : placeOf('--from', flags.from)
  await interruptible(
    (signal) => session.connected((playhead) => new Run(session, playhead, topic, flags).run(place, signal), signal),
    () => 'interrupted',
  )
}

class Run {
  readonly #session: Session
  readonly #playhead: Playhead
  readonly #topic: string
  readonly #flags: ReplayFlags
  /** What was printed and not committed yet, by partition. */
  readonly #printed = new Map<number, number>()
  #named: NamedPlayhead | undefined
  #version: number | 'none' = 'none'
  #committedMs = performance.now()

  constructor(session: Session, playhead: Playhead, topic: string, flags: ReplayFlags) {
    this.#session = session
    this.#playhead = playhead
    this.#topic = topic
    this.#flags = flags
  }

  async run(place: Place | undefined, signal: AbortSignal): Promise<void> {
    const { follow, partition, type, as, consistency } = this.#flags
    this.#named = as === undefined ? undefined : this.#playhead.topic(this.#topic).playhead(as)
    const from = await this.#from(place)
    const options: ReplayOptions = {
      from,
      signal,
      ...(follow === true && { follow }),
      ...(partition !== undefined && { partition }),
      ...(type.length > 0 && { types: type }),
      ...(consistency && { consistency }),
    }
    try {
      await this.#print(options)
    } catch (error) {
      if (error instanceof OutputClosed) throw error // nobody has seen these lines: they are not committed
      // Ctrl-C ends a replay that follows; a corrupt batch ends any. What was printed before stands either way.
      await this.#flushAndCommit()
      if (!(follow === true && signal.aborted && error === signal.reason)) throw error
    }
  }

  /** Where to begin: as asked, else where the playhead stands, else at the start. */
  async #from(place: Place | undefined): Promise<Place> {
    const state = await this.#named?.read()
    if (state === undefined) return place ?? 'start'
    this.#version = state.version
    return place ?? state.positions
  }

  async #print(options: ReplayOptions): Promise<void> {
    const { out } = this.#session
    let left = this.#flags.limit ?? Number.POSITIVE_INFINITY
    for await (const batch of this.#playhead.topic(this.#topic).replay(options)) {
      for (const record of batch) {
        const taken = out.write(eventLine(record.event()))
        if (taken !== undefined) await taken
        this.#printed.set(batch.partition, record.offset + 1)
        if (--left === 0) break
      }
      if (left === 0) break
      this.#printed.set(batch.partition, batch.nextOffset)
      if (options.follow === true) await out.flush()
      if (performance.now() - this.#committedMs >= commitMs) await this.#flushAndCommit()
    }
    await this.#flushAndCommit()
  }

  async #flushAndCommit(): Promise<void> {
    await this.#session.out.flush()
    this.#committedMs = performance.now()
    if (this.#named === undefined || this.#flags.commit !== true || this.#printed.size === 0) return
    const positions: PlayheadPosition[] = Array.from(this.#printed, ([partition, offset]) => ({ partition, offset }))
    // With the version: two readers under one name would otherwise undo each other's commits unseen.
    this.#version = (await this.#named.commit(positions, { expectedVersion: this.#version })).version
    this.#printed.clear()
  }
}
