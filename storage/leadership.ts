/**
 * Leadership: whether a log takes appends of its own, in which leader epoch they are written, and what decides when they may be told of. A broker by
 * itself leads all its logs, and what is durable on its disk may be told. Neighbours: Log asks; replication changes it through Log.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Appended } from './incoming-append.ts'
import type { Decision } from './log-end.ts'

/** How far a log may be told of. */
export interface CommitPoint {
  /** Everything below it may be. */
  readonly offset: number
  /** Resolves when that is `offset` or more; rejects when this broker will never know. */
  reached(offset: number): Promise<void>
  /** Resolves once it is certain that at the time of this call nobody else led; rejects when that cannot be known. Absent: nobody else ever does. */
  confirm?(): Promise<void>
}

/** Say what the log holds. All other refusals are right whoever leads. */
const restOnTheLog: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'wrongExpectedVersion',
  'outOfOrderSequence',
  'invalidProducerEpoch',
])

export class Leadership {
  /** That of the broker's run, which is final only once all logs are recovered. */
  readonly #ownEpoch: () => number
  /** Undefined until it leads in one that others have agreed to. */
  #agreedEpoch: number | undefined
  /** Why the log takes no appends of its own; undefined = it does. */
  refusal: PlayheadError | undefined
  /** Of the log's own disk. */
  readonly #durable: CommitPoint
  #committed: CommitPoint

  constructor(ownEpoch: () => number, durable: CommitPoint) {
    this.#ownEpoch = ownEpoch
    this.#durable = durable
    this.#committed = durable
  }

  /** What appends are stamped with. */
  get epoch(): number {
    return this.#agreedEpoch ?? this.#ownEpoch()
  }

  lead(epoch: number, committed: CommitPoint): void {
    this.#agreedEpoch = epoch
    this.#committed = committed
    this.refusal = undefined
  }

  follow(refusal: PlayheadError): void {
    this.refusal = refusal
  }

  /**
   * Waits, once for all of them, until what was decided may be told: what became of each, or why that is not known. What rests on the leader alone
   * waits for this disk only. A refusal that says what the log holds rests on what was last, so on that nobody else has led by then.
   */
  async outcomes(decisions: readonly (Decision | Promise<Decision>)[]): Promise<(Appended | PlayheadError)[]> {
    // As of now: who leads in a later epoch does not know what became of what was appended in this one.
    const committed = this.#committed
    const decided: Decision[] = []
    let [restsOn, restsOnLeader] = [0, 0]
    for (const pending of decisions) {
      const decision = pending instanceof Promise ? await pending : pending
      decided.push(decision)
      if (decision.onLeader) restsOnLeader = Math.max(restsOnLeader, decision.restsOn)
      else restsOn = Math.max(restsOn, decision.restsOn)
    }
    const unknown = await failureOf(committed, restsOn)
    const unknownHere = await failureOf(this.#durable, restsOnLeader)
    const unconfirmed = decided.some(restsOnTheLast)
      ? await committed.confirm?.().then(() => undefined, refusalOf)
      : undefined
    return decided.map((each) => {
      if (unconfirmed !== undefined && restsOnTheLast(each)) return unconfirmed
      const failure = each.onLeader ? unknownHere : unknown
      const { offset } = each.onLeader ? this.#durable : committed
      return failure !== undefined && each.restsOn > offset ? failure : each.outcome
    })
  }
}

function restsOnTheLast({ outcome }: Decision): boolean {
  return outcome instanceof PlayheadError && restOnTheLog.has(outcome.code)
}

/** Waits until `offset` is reached; answers why it never will be. */
function failureOf(point: CommitPoint, offset: number): Promise<PlayheadError | undefined> | undefined {
  return offset > point.offset ? point.reached(offset).then(() => undefined, refusalOf) : undefined
}

/** What is no refusal is a bug. */
export function refusalOf(error: unknown): PlayheadError {
  if (error instanceof PlayheadError) return error
  throw error
}
