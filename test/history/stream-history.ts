/**
 * StreamHistory: one stream, with the times between which each version was written, and what was claimed about versions.
 * A version is certainly current from the answer of its append to the call of the next one; a conflict is judged by that.
 * Judged at the end only, when the final log tells which events there are. Neighbours: history-checker.ts fills and finishes it.
 */
import type { Findings } from './findings.ts'
import type { AppendOperation, Conflict, Span, StreamReadOperation } from './history.ts'
import { Staircase } from './staircase.ts'

interface Claim {
  readonly offset: number
  readonly version: number
}

export class StreamHistory {
  readonly name: string
  readonly #partition: number
  readonly #findings: Findings
  readonly #claims: Claim[] = []
  readonly #conditions: { append: AppendOperation; version: number; baseOffset: number }[] = []
  readonly #conflicts: { append: AppendOperation; conflict: Conflict }[] = []
  readonly #acknowledged = new Staircase()
  /** The same, of what each session saw or wrote itself. */
  readonly #sessions = new Map<string, Staircase>()
  /** Of the final log, in order. */
  readonly #offsets: number[] = []
  readonly #writers: (AppendOperation | undefined)[] = []

  constructor(name: string, partition: number, findings: Findings) {
    this.name = name
    this.#partition = partition
    this.#findings = findings
  }

  claimed(offset: number, version: number): void {
    this.#claims.push({ offset, version })
  }

  acknowledged({ session, completedAt }: Pick<Span, 'session' | 'completedAt'>, version: number): void {
    this.#acknowledged.raise(completedAt, version)
    let own = this.#sessions.get(session)
    if (own === undefined) this.#sessions.set(session, (own = new Staircase()))
    own.raise(completedAt, version)
  }

  /** A written append that expected this stream at `version`. */
  conditionHeld(append: AppendOperation, version: number, baseOffset: number): void {
    this.#conditions.push({ append, version, baseOffset })
  }

  conflict(append: AppendOperation, conflict: Conflict): void {
    this.#conflicts.push({ append, conflict })
  }

  read(read: StreamReadOperation): void {
    let version = read.fromVersion
    for (const entry of read.entries) {
      if (entry.version !== version) this.#found('versionGap', `a read found version ${entry.version} for ${version}`)
      version = entry.version + 1
      this.claimed(entry.offset, entry.version)
    }
    const seen = read.isLinearizable === false ? this.#sessions.get(read.session) : this.#acknowledged
    const before = seen?.before(read.invokedAt) ?? -1
    if (before >= version && before >= read.fromVersion && read.isEndedByDamage !== true) {
      this.#found('staleRead', `a read ended at version ${version - 1} after ${before} was acknowledged`)
    }
    this.acknowledged(read, version - 1)
  }

  /** Called for every event of the final log, in offset order. */
  stands(offset: number, writer: AppendOperation | undefined): void {
    this.#offsets.push(offset)
    this.#writers.push(writer)
  }

  finish(): void {
    for (const { offset, version } of this.#claims) {
      const place = this.#countBelow(offset)
      if (this.#offsets[place] === offset && place !== version) {
        this.#found('versionGap', `offset ${offset} was told as version ${version}, it is the stream's ${place}`)
      }
    }
    for (const { append, version, baseOffset } of this.#conditions) {
      const found = this.#countBelow(baseOffset) - 1
      if (found !== version) {
        this.#found('brokenCondition', `${append.producer}#${append.sequence} expected ${version}, it was at ${found}`)
      }
    }
    for (const { append, conflict } of this.#conflicts) this.#judge(append, conflict)
  }

  #judge(append: AppendOperation, { expected, found }: Conflict): void {
    const { invokedAt, completedAt } = append
    const who = `${append.producer}#${append.sequence}`
    if (this.#isCurrent(expected, invokedAt, completedAt)) {
      return this.#found('falseConflict', `${who} expected ${expected}, which was current all the time`)
    }
    const writer = found < 0 ? undefined : this.#writers[found]
    const never = found === expected || found >= this.#offsets.length
    const later = writer !== undefined && writer.invokedAt > completedAt
    const next = this.#writers[found + 1]
    const earlier = next !== undefined && next.completedAt < invokedAt && next.outcome.kind === 'written'
    if (never || later || earlier) {
      const why = never ? 'never had' : later ? 'got only later' : 'had left before'
      this.#found(
        'phantomConflict',
        `${who} (${invokedAt}…${completedAt}) was told version ${found}, which the stream ${why}`,
      )
    }
  }

  /** True if the stream was surely at `version` during the whole of the time. */
  #isCurrent(version: number, from: number, until: number): boolean {
    if (version >= this.#offsets.length) return false
    const writer = version < 0 ? undefined : this.#writers[version]
    const isThere = version < 0 || (writer?.outcome.kind === 'written' && writer.completedAt < from)
    if (!isThere) return false
    if (version + 1 >= this.#offsets.length) return true
    const next = this.#writers[version + 1]
    return next !== undefined && next.invokedAt > until
  }

  /** Events of the stream below an offset. */
  #countBelow(offset: number): number {
    let [low, high] = [0, this.#offsets.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#offsets[middle]! < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #found(kind: Parameters<Findings['add']>[0], message: string): void {
    this.#findings.add(kind, this.#partition, `stream ${this.name}: ${message}`)
  }
}
