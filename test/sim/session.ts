/**
 * Session: one client of a simulation, a real Playhead over the simulated network. Runs one task after the other and records each; a failure
 * that a client must expect is part of the history, any other is a finding. May die and be born again as another session.
 */
import { connect, isPlayheadError } from '../../client/index.ts'
import type {
  ConsistencyOptions,
  Playhead,
  PlayheadError,
  ReplayBatch,
  StreamAppend,
  Topic,
} from '../../client/index.ts'
import type { AppendOutcome, Dump, Span, StreamReadOperation } from '../history/history.ts'
import { expectedCodes, fromBytes, outcomeOf } from './answers.ts'
import { leadersBounds } from './bounds.ts'
import type { Bounds } from './bounds.ts'
import { brokerPort } from './lone-broker.ts'
import type { Network } from './network.ts'
import type { Recorder } from './recorder.ts'
import type { DamageExcuse } from './rot.ts'
import type { Scheduler } from './scheduler.ts'
import { SimulatedProcess } from './simulated-process.ts'
import { playheadsTopic } from '../../broker/playheads.ts'
import { valueOf } from './workload.ts'
import type { Task, Workload } from './workload.ts'

export interface SessionOptions {
  readonly scheduler: Scheduler
  readonly network: Pick<Network, 'transport' | 'ended'>
  readonly recorder: Recorder
  readonly workload: Workload
  readonly rot: DamageExcuse
  /** What no client may ever see. */
  readonly onFinding: (finding: string) => void
  /** Of each call; drawn when absent. */
  readonly timeoutMs?: number
  /** Of the brokers; when absent, of the one. */
  readonly addresses?: readonly string[]
  /** What a client may be told beside what one broker says. */
  readonly moreCodes?: ReadonlySet<string>
  /** All reads promise to see everything acknowledged before they began; default: they do. Otherwise only those that ask for it. */
  readonly isLinearizable?: boolean
  readonly replicationFactor?: number
  readonly rack?: string | undefined
}

/** Offsets that cannot be read; `until` is exclusive. */
interface LostOffsets {
  readonly from: number
  readonly until: number
}

export class Session {
  readonly name: string
  readonly process: SimulatedProcess
  readonly #options: SessionOptions
  readonly #playhead: Playhead
  readonly #topic: Topic
  readonly #seenEnds = new Map<number, number>()
  readonly #versions = new Map<string, number>()
  /** Resolves when it dies. */
  readonly death: Promise<void>
  #onDeath: () => void = () => {}
  /** Reads of streams that went on behind a gap. */
  trimmedReads = 0
  #appends = 0
  #producers = 0
  /** Of the playhead that nobody else commits: acknowledged, and sent. */
  #committed = 0
  #committing = 0

  private constructor(options: SessionOptions, process: SimulatedProcess, playhead: Playhead) {
    this.name = process.name
    this.process = process
    this.#options = options
    this.#playhead = playhead
    this.#topic = playhead.topic(options.workload.topic)
    this.death = new Promise((resolve) => {
      this.#onDeath = resolve
    })
  }

  /** In a cluster a read is so when it asks for it: half of them do. */
  #wanted(): { readonly isLinearizable: boolean; readonly asked: ConsistencyOptions } {
    if (this.#options.isLinearizable ?? true) return { isLinearizable: true, asked: {} }
    const isLinearizable = this.#options.scheduler.oneIn(2)
    return { isLinearizable, asked: isLinearizable ? { consistency: 'linearizable' } : {} }
  }

  /** Tries until a broker answers, or the process has ended. */
  static async open(options: SessionOptions, name: string): Promise<Session> {
    const { scheduler, network } = options
    const process = new SimulatedProcess(scheduler, name)
    const drawnMs = scheduler.random.pick([300, 1_000, 5_000, 10_000])
    const { timeoutMs = drawnMs } = options
    for (;;) {
      try {
        const playhead = await connect(options.addresses ?? `broker:${brokerPort}`, {
          clientName: name,
          timeoutMs,
          transport: network.transport(process),
          clock: process.clock,
          random: process.random,
          ...(options.rack !== undefined && { rack: options.rack }),
        })
        return new Session(options, process, playhead)
      } catch (error) {
        if (!isPlayheadError(error, 'unavailable') && !isPlayheadError(error, 'stopping')) throw error
        await scheduler.sleep(50)
      }
    }
  }

  /** Dies at once: nothing is flushed, nobody is told. */
  die(): void {
    this.process.end('kill')
    this.#options.network.ended(this.process, 'kill')
    this.#options.recorder.abandon(this.name)
    this.#onDeath()
  }

  async close(): Promise<void> {
    await this.#playhead.close()
  }

  async createTopic(): Promise<void> {
    const { workload, scheduler, replicationFactor = 1 } = this.#options
    const { topic, partitions, settings } = workload
    for (;;) {
      try {
        await this.#playhead.admin.createTopic(topic, { partitions, settings, replicationFactor })
        return
      } catch (error) {
        if (isPlayheadError(error, 'topicExists')) return
        this.#expect('createTopic', error)
        await scheduler.sleep(50)
      }
    }
  }

  /** Runs the task; true if it did what it is for. Never rejects. */
  async run(task: Task): Promise<boolean> {
    this.#options.scheduler.note(`${this.name} ${task}`)
    try {
      if (task === 'append') await this.#append([this.#options.workload.stream()])
      else if (task === 'appendToSeveral') await this.#append(this.#streamsTogether())
      else if (task === 'produce') await this.#produce()
      else if (task === 'import') await this.#import()
      else if (task === 'replay') await this.#replay()
      else if (task === 'readStream') await this.#readStream()
      else if (task === 'tail') await this.#tail()
      else if (task === 'trim') await this.#trim()
      else await this.#usePlayhead()
      return true
    } catch (error) {
      this.#expect(task, error)
      return isPlayheadError(error, 'wrongExpectedVersion')
    }
  }

  /** Everything there is, partition by partition; every stream is read as well, into the history. */
  async contents(): Promise<Omit<Dump, 'kind'>[]> {
    const dumps: Omit<Dump, 'kind'>[] = []
    const { workload, rot } = this.#options
    const { partitions } = await this.#topic.describe()
    for (const { partition, logStartOffset } of partitions) {
      const entries: Dump['entries'][number][] = []
      const damaged: Dump['damaged'][number][] = []
      // What was given up is not there, like what is damaged; but whoever gave it up has read it first.
      if (logStartOffset > 0) damaged.push({ from: 0, until: logStartOffset })
      let isDamaged = false
      for (let from: number | undefined = logStartOffset; from !== undefined; ) {
        const lost = await this.#readPartition(partition, from, (batch) => {
          const epoch = batch.batch.leaderEpoch
          for (const { offset, stream, value } of batch)
            entries.push({ offset, stream, value: valueOf(JSON.parse(String(value))), epoch })
        })
        if (lost !== undefined) damaged.push(lost)
        isDamaged ||= lost !== undefined
        from = lost?.until
      }
      dumps.push({ partition, entries, damaged, isDerivedLost: isDamaged && !rot.keepsDerived })
    }
    this.trimmedReads = 0
    for (const stream of workload.streams) await this.#readStreamFrom(stream, 0, false)
    if (this.trimmedReads > 0) this.#options.onFinding(`${this.name}: a stream has a gap, and nobody trims any more`)
    await this.#tail()
    return dumps
  }

  /** To the end or to damage, which it answers. */
  async #readPartition(
    partition: number,
    from: number,
    visit: (batch: ReplayBatch) => void,
  ): Promise<LostOffsets | undefined> {
    try {
      for await (const batch of this.#topic.replay({ partition, from })) visit(batch)
      return undefined
    } catch (error) {
      return this.#lostOffsets(error, partition)
    }
  }

  /** What a reader is told to be damaged; a finding if it is not. Throws what is something else. */
  #lostOffsets(error: unknown, partition: number): LostOffsets {
    if (!isPlayheadError(error, 'corruptBatch')) throw error
    const { offset: from, nextOffset: until } = error.details as { offset: number; nextOffset: number }
    if (!(until > from)) throw error
    if (!this.#options.rot.explains(this.#options.workload.topic, partition, from, until))
      this.#options.onFinding(`${this.name}: damage that nobody did: ${error.message}`)
    return { from, until }
  }

  #expect(task: string, error: unknown): void {
    this.#options.scheduler.note(`${this.name} ${task}: ${String(error)}`)
    if (isPlayheadError(error) && (expectedCodes.has(error.code) || this.#options.moreCodes?.has(error.code))) return
    if (isPlayheadError(error, 'offsetOutOfRange') && this.#options.workload.trims) return
    if (isPlayheadError(error, 'damagedData') && this.#options.rot.mayRefuse) return
    if (task === 'playhead' && isPlayheadError(error, 'corruptBatch') && this.#isExplained(error)) return
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#options.onFinding(`${this.name} ${task}: ${text}`)
  }

  /** Of the topic that keeps the playheads: pages of it cannot be read for a while, like others. */
  #isExplained({ details }: PlayheadError): boolean {
    return this.#options.rot.explains(playheadsTopic, 0, Number(details['offset']), Number(details['nextOffset']))
  }

  /** Up to three streams of one partition. */
  #streamsTogether(): string[] {
    const { workload } = this.#options
    const first = workload.stream()
    const others = [workload.stream(), workload.stream()].filter(
      (stream) => workload.partitionOf(stream) === workload.partitionOf(first),
    )
    return [...new Set([first, ...others])]
  }

  async #append(streams: readonly string[]): Promise<void> {
    const { workload, recorder, scheduler } = this.#options
    const appends = streams.map((stream): StreamAppend & { values: string[] } => {
      const count = 1 + scheduler.random.below(3)
      const values = Array.from({ length: count }, () => workload.value(this.name))
      const events = values.map((value) => ({ type: 'Happened', data: workload.payload(value) }))
      if (scheduler.oneIn(2)) return { stream, events, values }
      const version = (this.#versions.get(stream) ?? -1) + (scheduler.oneIn(4) ? scheduler.random.below(3) - 1 : 0)
      return { stream, events, values, expectedVersion: version < 0 ? 'none' : version }
    })
    const settle = recorder.append({
      session: this.name,
      partition: workload.partitionOf(streams[0]!),
      producer: `${this.name} events`,
      sequence: this.#appends++,
      events: appends.flatMap(({ stream, values }) => values.map((value) => ({ stream, value }))),
      expected: appends.flatMap(({ stream, expectedVersion: version }) =>
        version === undefined ? [] : [{ stream, version: version === 'none' ? -1 : Number(version) }],
      ),
    })
    try {
      const { offset, streams: written } = await this.#topic.append(appends)
      const versions = written.flatMap((each) => each.versions)
      for (const each of written) this.#versions.set(each.stream, each.versions.at(-1) ?? -1)
      settle({ kind: 'written', baseOffset: offset - versions.length + 1, versions })
    } catch (error) {
      settle(outcomeOf(error))
      if (isPlayheadError(error)) for (const { stream, found } of error.conflicts) this.#versions.set(stream, found)
      throw error
    }
  }

  async #produce(): Promise<void> {
    const { workload, recorder, scheduler } = this.#options
    const producerName = `${this.name} producer ${this.#producers++}`
    const open = new Map<string, (outcome: AppendOutcome) => void>()
    const producer = this.#topic.producer({
      inFlight: 1 + scheduler.random.below(5),
      batchBytes: 1024 << scheduler.random.below(6),
      lingerMs: scheduler.random.below(5),
      compression: scheduler.random.pick(['none', 'none', 'gzip', 'zstd']),
      onError: (error, batch) => {
        this.#expect('produce', error)
        for (const { value } of batch.records()) open.get(valueOf(JSON.parse(String(value))))?.(outcomeOf(error))
      },
    })
    try {
      for (let sequence = 0, count = 1 + scheduler.random.below(15); sequence < count; sequence++) {
        const [stream, value] = [workload.stream(), workload.value(this.name)]
        const settle = recorder.append({
          session: this.name,
          partition: workload.partitionOf(stream),
          producer: producerName,
          sequence,
          events: [{ stream, value }],
          expected: [],
        })
        open.set(value, settle)
        await producer.send({ key: stream, value: JSON.stringify(workload.payload(value)) })
        if (scheduler.oneIn(10)) await scheduler.sleep(scheduler.between(0, 3))
      }
      await producer.flush()
      // What failed has been settled by onError.
      for (const settle of open.values()) settle({ kind: 'written' })
    } finally {
      for (const settle of open.values()) settle({ kind: 'unknown' })
      await producer.close()
    }
  }

  /** The same rows each time, for all sessions: whoever comes second goes on where the first has stopped. */
  async #import(): Promise<void> {
    const { workload, recorder, scheduler } = this.#options
    const number = scheduler.random.below(3)
    const nameHash = Buffer.alloc(8, number + 1)
    const settles: ((outcome: AppendOutcome) => void)[] = []
    const importer = await this.#topic.namedProducer(nameHash, { batchBytes: 1024 << scheduler.random.below(4) })
    try {
      const rows = 1 + scheduler.random.below(workload.rowsPerImport)
      for (let row = 0; row < rows; row++) {
        const [stream, value] = [workload.streams[row % workload.streams.length]!, `import-${number}.${row}`]
        settles.push(
          recorder.append({
            session: this.name,
            partition: workload.partitionOf(stream),
            producer: `import-${number}`,
            sequence: row,
            events: [{ stream, value }],
            expected: [],
          }),
        )
        await importer.send({ key: stream, value: JSON.stringify({ v: value, x: '' }) })
      }
      await importer.flush()
      for (const settle of settles) settle({ kind: 'written' })
    } finally {
      for (const settle of settles) settle({ kind: 'unknown' })
      await importer.close().catch((error: unknown) => this.#expect('import', error))
    }
  }

  async #replay(): Promise<void> {
    const { workload, recorder, scheduler } = this.#options
    const partition = scheduler.random.below(workload.partitions)
    const end = this.#seenEnds.get(partition) ?? 0
    const wanted = scheduler.oneIn(4) ? 0 : scheduler.oneIn(2) ? end : scheduler.random.below(end + 1)
    const { partitions } = workload.trims ? await this.#topic.describe() : { partitions: [] }
    const fromOffset = Math.max(wanted, partitions[partition]?.logStartOffset ?? 0)
    const batchesMax = scheduler.oneIn(3) ? 1 + scheduler.random.below(5) : Infinity
    const invokedAt = recorder.now()
    const { isLinearizable, asked } = this.#wanted()
    const replay = this.#topic.replay({ partition, from: fromOffset, ...asked })
    const entries: { offset: number; stream: string | null; value: string }[] = []
    let batches = 0
    let lost: LostOffsets | undefined
    try {
      for await (const batch of replay) {
        for (const { offset, stream, value } of batch)
          entries.push({ offset, stream, value: valueOf(JSON.parse(String(value))) })
        if (++batches >= batchesMax) break
      }
    } catch (error) {
      lost = this.#lostOffsets(error, partition)
    }
    const highWatermark = (await replay.ranges())[0]!.untilOffset
    this.#seenEnds.set(partition, Math.max(end, highWatermark))
    recorder.read(this.name, invokedAt, { partition, fromOffset, entries, highWatermark, isLinearizable })
    const readTo = fromOffset + entries.length
    const wantedTo = lost === undefined ? highWatermark : Math.max(fromOffset, lost.from)
    if (batches < batchesMax && readTo !== wantedTo)
      this.#options.onFinding(`${this.name}: a replay of ${fromOffset}…${wantedTo} gave ${entries.length}`)
  }

  async #readStream(): Promise<void> {
    const { workload, scheduler } = this.#options
    const stream = workload.stream()
    const backwards = scheduler.oneIn(3)
    const isWhole = backwards || scheduler.oneIn(4)
    const fromVersion = isWhole ? 0 : scheduler.random.below((this.#versions.get(stream) ?? 0) + 1)
    await this.#readStreamFrom(stream, fromVersion, backwards)
  }

  /** Around what is damaged; backwards only as far as it. */
  async #readStreamFrom(stream: string, fromVersion: number, backwards: boolean): Promise<void> {
    const { workload, recorder } = this.#options
    const partition = workload.partitionOf(stream)
    for (let from: number | undefined = fromVersion; from !== undefined; ) {
      const invokedAt = recorder.now()
      const { isLinearizable, asked } = this.#wanted()
      const entries: { offset: number; version: number; value: string }[] = []
      let nextVersion: number | undefined
      let isEndedByDamage = false
      try {
        const options = { ...asked, ...(backwards ? { backwards } : { from }) }
        for await (const event of this.#topic.stream(stream).read(options)) {
          const value = valueOf(event.data ?? fromBytes(event.dataBase64))
          entries.push({ offset: event.offset, version: event.version ?? -1, value })
        }
      } catch (error) {
        this.#lostOffsets(error, partition)
        isEndedByDamage = true
        if (!backwards) nextVersion = Number((error as PlayheadError).details['nextVersion'])
      }
      if (backwards) entries.reverse()
      const first: number = backwards && isEndedByDamage ? (entries[0]?.version ?? 0) : from
      const read = { partition, stream, fromVersion: first, entries, isEndedByDamage }
      if (workload.trims) this.#readTrimmed(invokedAt, { ...read, isLinearizable })
      else recorder.readStream(this.name, invokedAt, { ...read, isLinearizable })
      const last = entries.at(-1)
      if (last !== undefined) this.#versions.set(stream, last.version)
      from = nextVersion
    }
  }

  /** The stream may have lost its beginning, also while it was read: what was read are runs of versions. */
  #readTrimmed(invokedAt: number, read: Omit<StreamReadOperation, keyof Span | 'kind' | 'isEndedByDamage'>): void {
    const { recorder } = this.#options
    const { entries } = read
    let from = 0
    for (let place = 1; place <= entries.length; place++) {
      if (entries[place]?.version === entries[place - 1]!.version + 1) continue
      const run = entries.slice(from, place)
      const isEndedByDamage = place < entries.length
      if (isEndedByDamage) this.trimmedReads++
      const fromVersion = run[0]!.version
      recorder.readStream(this.name, invokedAt, { ...read, entries: run, fromVersion, isEndedByDamage })
      from = place
    }
    if (entries.length > 0) return
    recorder.readStream(this.name, invokedAt, { ...read, isEndedByDamage: true })
  }

  /** Gives up some of the beginning of a partition, having read it. */
  async #trim(): Promise<void> {
    const { workload, recorder, scheduler } = this.#options
    const invokedAt = recorder.now()
    const bounds = await this.#bounds(scheduler.random.pick((await this.#topic.describe()).partitions))
    const { partition, logStartOffset, highWatermark, isLinearizable } = bounds
    const before = logStartOffset + scheduler.random.below(highWatermark - logStartOffset + 1)
    const entries: { offset: number; stream: string | null; value: string }[] = []
    for await (const batch of this.#topic.replay({ partition, from: logStartOffset, until: before }))
      for (const { offset, stream, value } of batch)
        entries.push({ offset, stream, value: valueOf(JSON.parse(String(value))) })
    const read = { partition, fromOffset: logStartOffset, entries, highWatermark, isLinearizable }
    recorder.read(this.name, invokedAt, read)
    if (entries.length !== before - logStartOffset)
      this.#options.onFinding(`${this.name}: a replay of ${logStartOffset}…${before} gave ${entries.length}`)
    recorder.trimming(partition, before)
    const [start] = await this.#playhead.admin.deleteRecords(workload.topic, [{ partition, offset: before }])
    if ((start?.logStartOffset ?? -1) < before)
      this.#options.onFinding(`${this.name}: trimmed before ${before}, told ${start?.logStartOffset}`)
  }

  async #tail(): Promise<void> {
    const { recorder } = this.#options
    const invokedAt = recorder.now()
    const { partitions } = await this.#topic.describe()
    for (const { damage, ...described } of partitions) {
      recorder.tail(this.name, invokedAt, await this.#bounds(described))
      const { partition } = described
      for (const text of damage) this.#checkDamage(partition, text)
    }
  }

  async #bounds({ partition, logStartOffset, highWatermark }: Bounds): Promise<Bounds & { isLinearizable: boolean }> {
    const { isLinearizable, asked } = this.#wanted()
    if (this.#options.isLinearizable ?? true) return { partition, logStartOffset, highWatermark, isLinearizable }
    return { isLinearizable, ...(await leadersBounds(this.#topic, partition, asked)) }
  }

  #checkDamage(partition: number, text: string): void {
    const { rot, workload } = this.#options
    if (rot.explainsReport(workload.topic, partition, text)) return
    this.#options.onFinding(`${this.name}: damage that nobody did: ${text}`)
  }

  /** A playhead of its own: what is committed is what is read. */
  async #usePlayhead(): Promise<void> {
    const playhead = this.#topic.playhead(this.name)
    const at = (await playhead.read())?.positions.find(({ partition }) => partition === 0)?.offset ?? 0
    if (at < this.#committed || at > this.#committing) {
      const wanted = `${this.#committed} to ${this.#committing}`
      this.#options.onFinding(`${this.name}: playhead found at ${at}, wanted ${wanted}`)
    }
    const [range] = await this.#topic.replay({ partition: 0, from: 'end' }).ranges()
    const highWatermark = range!.untilOffset
    if (highWatermark <= this.#committing) return
    this.#committing = highWatermark
    await playhead.commit([{ partition: 0, offset: highWatermark }])
    this.#committed = highWatermark
  }
}
