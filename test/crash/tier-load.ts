/**
 * TierLoad: what one client writes to a broker with a tier while that is killed again and again, and what it must find afterwards. Three topics: `kept` has
 * all that was ever written, `latest` is compacted, `passing` keeps only the newest megabytes. The client is the real one: what got no answer it sends
 * again under the same sequence, so each event is there once, under the version and the offset that come next.
 * Neighbours: tier-run.ts kills and judges.
 */
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'

/** Longer than a broker takes to be started again, also on a slow machine. */
const timeoutMs = 60_000
const eventBytes = 90_000
const latestKeys = 5
/** Of `passing`; of which the tier has some and the local disk nearly nothing. */
const passingBytes = 3 * 1024 * 1024
const common = { 'segment.bytes': String(1024 * 1024), 'local.retention.bytes': '0' }
const topics = {
  kept: common,
  latest: { ...common, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' },
  passing: { ...common, 'retention.bytes': String(passingBytes) },
} as const

const filler = 'x'.repeat(eventBytes)
const textOf = (number: number) => `${number}:${filler.slice(0, eventBytes - (number % 1000))}`

export class TierLoad {
  readonly findings: string[] = []
  readonly #playhead: Playhead
  /** Events of each topic that were acknowledged: all before this one. */
  #count = 0
  #passingStart = 0
  #latestEvents = 0
  operations = 0

  private constructor(playhead: Playhead) {
    this.#playhead = playhead
  }

  static async open(server: string): Promise<TierLoad> {
    return new TierLoad(await connect(server, { clientName: 'tier load', timeoutMs }))
  }

  close(): Promise<void> {
    return this.#playhead.close()
  }

  async createTopics(): Promise<void> {
    for (const [topic, settings] of Object.entries(topics)) await this.#playhead.admin.createTopic(topic, { settings })
  }

  /** So many events more in each topic. */
  async append(count: number): Promise<void> {
    for (let left = count; left > 0; left--) {
      const number = this.#count
      const key = number % latestKeys
      await Promise.all([
        this.#one('kept', 'all', number, number),
        this.#one('latest', `key-${key}`, number, Math.floor(number / latestKeys)),
        this.#one('passing', 'all', number, number),
      ])
      this.#count++
    }
  }

  /** Retention and compaction have done something to speak of. */
  checkCleaning(): void {
    if (this.#passingStart === 0) this.findings.push('found all of passing, wanted its oldest segments gone')
    if (this.#latestEvents === this.#count) this.findings.push('found all of latest, wanted it compacted')
  }

  /** Everything that can be read, against everything that was acknowledged. */
  async check(note: string): Promise<void> {
    await this.#replay('kept', note)
    await this.#checkPassing(note)
    let version = 0
    for await (const event of this.#playhead.topic('kept').stream('all').read()) {
      this.#same(`${note}: version of kept/all`, event.version, version)
      this.#sameText(`${note}: kept/all at version ${version}`, event.data, version++)
    }
    this.#same(`${note}: events of kept/all`, version, this.#count)
    this.operations++
    await this.#checkLatest(note)
  }

  async #checkLatest(note: string): Promise<void> {
    this.#latestEvents = 0
    for (let key = 0; key < latestKeys; key++) {
      const last = Math.floor((this.#count - 1 - key) / latestKeys)
      if (last < 0) continue
      const events = []
      for await (const event of this.#playhead.topic('latest').stream(`key-${key}`).read()) events.push(event)
      this.operations++
      this.#latestEvents += events.length
      const what = `${note}: latest/key-${key}`
      this.#same(`${what}: the last version`, events.at(-1)?.version, last)
      // Compaction may go on from one page to the next: older ones may be missing, never in the other order.
      let before = -1
      for (const { version, data } of events) {
        if (version === null || version <= before)
          this.findings.push(`${what}: found version ${version} after ${before}, wanted rising ones`)
        this.#sameText(`${what} at version ${version}`, data, (before = version ?? before) * latestKeys + key)
      }
    }
  }

  /** Where it begins, which never goes back, and never as far as the newest megabytes; before that there is nothing. */
  async #checkPassing(note: string): Promise<void> {
    let start: number | undefined
    // The start may move on just when somebody wants to begin there.
    while (start === undefined) start = await this.#replay('passing', note).catch(passedBy)
    if (start < this.#passingStart)
      this.findings.push(`${note}: found passing to begin at ${start}, wanted ${this.#passingStart} or later`)
    const keptBytes = (this.#count - start) * eventBytes
    if (start > 0 && keptBytes < passingBytes)
      this.findings.push(`${note}: found ${keptBytes} bytes of passing from ${start} on, wanted ${passingBytes}`)
    this.#passingStart = start
    if (start === 0) return
    const before = await this.#first(0).catch(passedBy)
    if (before !== undefined) this.findings.push(`${note}: found offset ${before} of passing, wanted offsetOutOfRange`)
  }

  async #first(from: number): Promise<number> {
    for await (const batch of this.#playhead.topic('passing').replay({ from }))
      for (const { offset } of batch) return offset
    return this.#count
  }

  /** Answers the first offset there was. */
  async #replay(topic: 'kept' | 'passing', note: string): Promise<number> {
    let start: number | undefined = topic === 'kept' ? 0 : undefined
    let next = start ?? 0
    for await (const batch of this.#playhead.topic(topic).replay({ from: 'start' }))
      for (const record of batch) {
        if (start === undefined) start = next = record.offset
        this.#same(`${note}: ${topic} at offset ${next}`, record.offset, next)
        this.#sameText(`${note}: ${topic} at offset ${next}`, record.event().data, next)
        next++
      }
    this.operations++
    this.#same(`${note}: the end of ${topic}`, next, this.#count)
    return start ?? this.#count
  }

  async #one(topic: string, stream: string, number: number, wanted: number): Promise<void> {
    const event = { type: 'Happened', data: textOf(number) }
    const { offset, version } = await this.#playhead.topic(topic).stream(stream).append(event)
    this.#same(`offset of event ${number} in ${topic}`, offset, number)
    this.#same(`version of event ${number} in ${topic}`, version, wanted)
    this.operations++
  }

  #same(what: string, found: unknown, wanted: unknown): void {
    if (found !== wanted) this.findings.push(`${what}: found ${String(found)}, wanted ${String(wanted)}`)
  }

  #sameText(what: string, found: unknown, number: number): void {
    if (found !== textOf(number))
      this.findings.push(`${what}: found ${String(found).slice(0, 20)}…, wanted event ${number}`)
  }
}

function passedBy(error: unknown): undefined {
  if (!isPlayheadError(error, 'offsetOutOfRange')) throw error
}
