/**
 * Route: which broker is asked about one thing (a partition, the named playheads), as far as this client knows. Learned from what brokers say of a
 * topic and from refusals that name the leader; given up when a request shows that it is wrong, or that its broker is gone.
 * Invariant: a wrong route costs time and nothing else: whoever is asked and does not lead says so.
 * Neighbours: Cluster finds the connection; TopicRoutes has one for each partition and asks anew.
 */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Deadline } from './deadline.ts'

/** What a route needs of the brokers that are known. */
export interface KnownBrokers {
  /** Whether there is more than one way in. */
  readonly hasOthers: boolean
  /** Notes where a broker is reached. */
  learn(broker: number, address: { readonly host: string; readonly port: number }): void
  knows(broker: number): boolean
}

/** Failures after which another broker may be the one to ask. */
const movingCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'notLeader',
  'notEnoughReplicas',
  'fencedEpoch',
  'stopping',
  'unavailable',
  'timedOut',
])

export class Route {
  readonly #brokers: KnownBrokers
  /** Asks a broker, another one than `avoid` if there is one, who leads, and calls `lead`. Undefined: nobody can be asked. */
  readonly #ask: ((deadline: Deadline, avoid: number | undefined) => Promise<void>) | undefined
  #broker: number | undefined
  #avoid: number | undefined
  #isStale = false
  #leaderEpoch = -1

  constructor(
    brokers: KnownBrokers,
    ask?: (deadline: Deadline, avoid: number | undefined) => Promise<void>,
    broker?: number,
  ) {
    this.#brokers = brokers
    this.#ask = ask
    this.#broker = broker
  }

  /** Who is to be asked; undefined = any. */
  get broker(): number | undefined {
    return this.#broker
  }

  /** Who is asked only if there is nobody else. */
  get avoid(): number | undefined {
    return this.#avoid
  }

  /** It has turned out wrong: `ready` first. */
  get isStale(): boolean {
    return this.#isStale
  }

  /** In which `broker` leads, as far as that was said; -1 = it was not. */
  get leaderEpoch(): number {
    return this.#leaderEpoch
  }

  /** The broker that leads, or any when it is not known who does. */
  lead(broker: number | undefined, leaderEpoch = -1): void {
    this.#broker = broker
    this.#avoid = undefined
    this.#isStale = false
    this.#leaderEpoch = leaderEpoch
  }

  /** Asks who leads, if the route is stale. Rejects with what that fails with; then it is stale still. */
  async ready(deadline: Deadline): Promise<void> {
    if (!this.#isStale) return
    if (this.#ask === undefined) this.#isStale = false
    else await this.#ask(deadline, this.#avoid)
  }

  /**
   * Takes a failure of a request to `asked` into account. Answers the failure as it is to be taken: a leader that does not know its topic yet has
   * refused for a while only.
   */
  failed(failure: unknown, asked: number | undefined): unknown {
    if (!isPlayheadError(failure)) return failure
    // From before the route changed.
    if (this.#broker !== undefined && asked !== undefined && asked !== this.#broker) return failure
    const error = this.#isTold(asked) && failure.code === 'unknownTopic' ? notHereYet(failure, asked) : failure
    if (movingCodes.has(error.code) && !this.#follows(error, asked)) this.doubt(asked)
    return error
  }

  /** `asked` is not, or may not be, the one to ask. */
  doubt(asked: number | undefined): void {
    this.#broker = undefined
    const { hasOthers } = this.#brokers
    this.#avoid = hasOthers ? asked : undefined
    this.#isStale = hasOthers
  }

  #isTold(asked: number | undefined): asked is number {
    return this.#ask !== undefined && this.#brokers.hasOthers && this.#broker !== undefined && this.#broker === asked
  }

  /** True if the refusal names a leader that can be reached: that is asked next. */
  #follows({ code, details }: PlayheadError, asked: number | undefined): boolean {
    const { leader, leaderEpoch = -1, host, port } = details
    if (code !== 'notLeader' || typeof leader !== 'number' || leader === asked) return false
    if (typeof leaderEpoch !== 'number' || leaderEpoch < this.#leaderEpoch) return false
    if (typeof host === 'string' && typeof port === 'number') this.#brokers.learn(leader, { host, port })
    if (!this.#brokers.knows(leader)) return false
    this.lead(leader, leaderEpoch)
    return true
  }
}

function notHereYet({ message }: PlayheadError, asked: number): PlayheadError {
  return new PlayheadError('notLeader', `broker ${asked}, which others say leads: ${message}`, {
    outcome: 'notApplied',
  })
}
