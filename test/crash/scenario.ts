/**
 * Scenario: what one client does while its broker is harmed: events with and without conditions, several streams at once, a producer, an import,
 * a playhead, a topic that is deleted, segments that are full and sealed; twice, with a kill -9 between. The client is the real one: it repeats
 * what got no answer by itself, under the same sequences. Everything is recorded; whatever a client must not see is a finding.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead, Producer, StreamAppend } from '../../client/index.ts'
import type { AppendOutcome } from '../history/history.ts'
import { outcomeOf } from '../sim/answers.ts'
import type { Recorder } from '../sim/recorder.ts'
import { topicName, valueOf, Workload } from '../sim/workload.ts'

const segmentBytes = 1_048_576
/** Three of these fill a segment. */
const largeBytes = 400_000
/** Longer than a broker takes to be started again. */
const timeoutMs = 30_000
/** Longer than an idle log waits with its floor, and than the next checkpoint takes to come. */
const idleMs = 160
export const scenarioFlags = ['--checkpoint-interval-ms', '100']

/** One partition, and the streams that the scenario writes to. */
export class ScriptedWorkload extends Workload {
  override readonly partitions = 1
  override readonly streams = ['a', 'b', 'large', 'k0', 'k1', 'k2', 'i0', 'i1']
}

/** An append whose events carry values that are there once. */
/** Of a question that a failing disk makes the broker refuse: it ends soon, and is started again. */
const triesMax = 500

interface Marked extends StreamAppend {
  readonly events: readonly { readonly type: string; readonly data: { readonly v: string } }[]
}

export class Scenario {
  readonly findings: string[] = []
  readonly #playhead: Playhead
  readonly #recorder: Recorder
  /** Then, until it has ended, the broker may find its cache to be other than it was written. */
  readonly #isDiskFailing: boolean
  #producer: Producer | undefined
  readonly #open = new Map<string, (outcome: AppendOutcome) => void>()
  #appends = 0
  #sent = 0
  #values = 0
  #committed = 0

  private constructor(playhead: Playhead, recorder: Recorder, isDiskFailing: boolean) {
    this.#playhead = playhead
    this.#recorder = recorder
    this.#isDiskFailing = isDiskFailing
  }

  static async open(server: string, recorder: Recorder, isDiskFailing: boolean): Promise<Scenario> {
    return new Scenario(await connect(server, { clientName: 'scenario', timeoutMs }), recorder, isDiskFailing)
  }

  async close(): Promise<void> {
    await this.#producer?.close().catch((error: unknown) => this.#expect('close', error))
    await this.#playhead.close()
  }

  /** On an empty directory. */
  async first(): Promise<void> {
    await this.#create(topicName)
    await this.#append([{ stream: 'a', events: this.#events(2) }])
    await this.#conditional('a', 0)
    await this.#conditional('a', -1)
    await this.#append([
      { stream: 'b', events: this.#events(1), expectedVersion: 'none' },
      { stream: 'a', events: this.#events(2) },
    ])
    await this.#produce(6)
    await this.#import(5)
    await this.#fillSegment()
    await this.#commit(3)
    await this.#deleteAnother()
    await sleep(idleMs)
    await this.#append([{ stream: 'b', events: this.#events(1) }])
  }

  /** On the directory of a broker that was killed. */
  async second(): Promise<void> {
    await this.#conditional('a', 0)
    await this.#conditional('b', -1)
    await this.#produce(6)
    await this.#import(8)
    await this.#fillSegment()
    const together = Array.from({ length: 8 }, (_, place) => `k${place % 3}`)
    await Promise.all(together.map((stream) => this.#append([{ stream, events: this.#events(1) }])))
    await this.#commit(9)
    await sleep(idleMs)
    await this.#conditional('large', 0)
  }

  /** What the log says is the checker's to judge; this is the rest. */
  async lookAtTheRest(): Promise<void> {
    const names = (await this.#playhead.admin.listTopics()).map(({ topic }) => topic)
    if (names.join() !== topicName) this.findings.push(`topics: found ${names.join()}, wanted ${topicName} only`)
    const state = await this.#playhead.topic(topicName).playhead('reader').read()
    const at = state?.positions[0]?.offset
    if (at !== this.#committed) this.findings.push(`playhead: found ${at}, wanted ${this.#committed}`)
  }

  #events(count: number, fill = ''): Marked['events'] {
    return Array.from({ length: count }, () => ({ type: 'Happened', data: { v: `v${this.#values++}`, x: fill } }))
  }

  async #append(appends: readonly Marked[]): Promise<void> {
    const settle = this.#recorder.append({
      session: 'scenario',
      partition: 0,
      producer: 'events',
      sequence: this.#appends++,
      events: appends.flatMap(({ stream, events }) => events.map(({ data }) => ({ stream, value: data.v }))),
      expected: appends.flatMap(({ stream, expectedVersion: version }) =>
        version === undefined ? [] : [{ stream, version: version === 'none' ? -1 : Number(version) }],
      ),
    })
    try {
      const { offset, streams } = await this.#playhead.topic(topicName).append(appends)
      const versions = streams.flatMap((each) => each.versions)
      settle({ kind: 'written', baseOffset: offset - versions.length + 1, versions })
    } catch (error) {
      settle(outcomeOf(error))
      this.#expect('append', error)
    }
  }

  async #lastVersion(stream: string): Promise<number> {
    for (let tries = 1; ; tries++) {
      try {
        return (await this.#playhead.topic(topicName).stream(stream).info()).lastVersion
      } catch (error) {
        if (!this.#isDiskFailing || !isPlayheadError(error, 'damagedData') || tries === triesMax) throw error
        await sleep(20)
      }
    }
  }

  /** Expects the version there is, `off` by so many: 0 is written, anything else is refused. */
  async #conditional(stream: string, off: number): Promise<void> {
    const lastVersion = await this.#lastVersion(stream)
    const version = lastVersion + off
    await this.#append([{ stream, events: this.#events(1), expectedVersion: version < 0 ? 'none' : version }])
  }

  #makeProducer(): Producer {
    return this.#playhead.topic(topicName).producer({
      batchBytes: 1024,
      onError: (error, batch) => {
        this.#expect('produce', error)
        for (const { value } of batch.records()) this.#settle(valueOf(JSON.parse(String(value))), outcomeOf(error))
      },
    })
  }

  async #produce(count: number): Promise<void> {
    const producer = (this.#producer ??= this.#makeProducer())
    for (let record = 0; record < count; record++) {
      const [stream, value] = [`k${this.#sent % 3}`, `v${this.#values++}`]
      this.#open.set(value, this.#appendOf('producer', this.#sent++, stream, value))
      await producer.send({ key: stream, value: JSON.stringify({ v: value }) })
    }
    await producer.flush()
    for (const value of this.#open.keys()) this.#settle(value, { kind: 'written' })
  }

  /** The same rows each time, and more: those that are there already are not written again. */
  async #import(rows: number): Promise<void> {
    const importer = await this.#playhead.topic(topicName).namedProducer(Buffer.alloc(8, 1))
    const settles: ((outcome: AppendOutcome) => void)[] = []
    try {
      for (let row = 0; row < rows; row++) {
        const [stream, value] = [`i${row % 2}`, `import.${row}`]
        settles.push(this.#appendOf('import', row, stream, value))
        await importer.send({ key: stream, value: JSON.stringify({ v: value }) })
      }
      await importer.flush()
      for (const settle of settles) settle({ kind: 'written' })
      await importer.close()
    } catch (error) {
      for (const settle of settles) settle(outcomeOf(error))
      this.#expect('import', error)
    }
  }

  #appendOf(producer: string, sequence: number, stream: string, value: string): (outcome: AppendOutcome) => void {
    const what = { session: 'scenario', partition: 0, producer, sequence }
    return this.#recorder.append({ ...what, events: [{ stream, value }], expected: [] })
  }

  #settle(value: string, outcome: AppendOutcome): void {
    this.#open.get(value)?.(outcome)
    this.#open.delete(value)
  }

  async #fillSegment(): Promise<void> {
    for (let bytes = 0; bytes < segmentBytes; bytes += largeBytes) {
      await this.#append([{ stream: 'large', events: this.#events(1, 'x'.repeat(largeBytes)) }])
    }
  }

  async #commit(offset: number): Promise<void> {
    await this.#untilDone('commit', () =>
      this.#playhead
        .topic(topicName)
        .playhead('reader')
        .commit([{ partition: 0, offset }]),
    )
    this.#committed = offset
  }

  async #deleteAnother(): Promise<void> {
    await this.#create('another')
    await this.#untilDone('append to another', () =>
      this.#playhead.topic('another').stream('a').append({ type: 'Happened' }),
    )
    await this.#untilDone('delete', () => this.#playhead.admin.deleteTopic('another'), 'unknownTopic')
  }

  async #create(topic: string): Promise<void> {
    const options = { partitions: 1, settings: { 'segment.bytes': segmentBytes } }
    await this.#untilDone('create', () => this.#playhead.admin.createTopic(topic, options), 'topicExists')
  }

  /** Asks again for as long as the answer is open; `done`: the refusal that says it was done before. */
  async #untilDone(what: string, change: () => Promise<unknown>, done?: 'topicExists' | 'unknownTopic'): Promise<void> {
    for (;;) {
      try {
        await change()
        return
      } catch (error) {
        if (done !== undefined && isPlayheadError(error, done)) return
        this.#expect(what, error)
        if (this.findings.length > 0) return
        await sleep(20)
      }
    }
  }

  #expect(what: string, error: unknown): void {
    const codes = ['wrongExpectedVersion', 'unavailable', 'storageFailed', 'stopping', 'outOfOrderSequence']
    if (isPlayheadError(error) && codes.includes(error.code)) return
    if (this.#isDiskFailing && isPlayheadError(error, 'damagedData')) return
    this.findings.push(`${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }
}
