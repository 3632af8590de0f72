/**
 * Following: what a replica that does not lead knows: whom it follows, in which leader epoch, and what is committed as far as it has heard.
 * Invariant: the high watermark never goes back. Neighbours: Partition has one while it does not lead.
 */
import { PlayheadError } from '../protocol/errors.ts'

/** A follower that has not heard of its leader for so long does not know how much it lacks. */
const silenceMsMax = 3_000

export class Following {
  /** Broker id; null = there is none now. */
  readonly leader: number | null
  readonly leaderEpoch: number
  #highWatermark: number
  /** When the leader was heard last. */
  #heardMs = Number.NEGATIVE_INFINITY

  constructor(leader: number | null, leaderEpoch: number, highWatermark: number) {
    this.leader = leader
    this.leaderEpoch = leaderEpoch
    this.#highWatermark = highWatermark
  }

  /** What is committed, as far as it is here. */
  highWatermark(durableOffset: number): number {
    return Math.min(this.#highWatermark, durableOffset)
  }

  /** Whether the leader was heard of late: parked fetches are answered well before that. */
  isInTouch(nowMs: number): boolean {
    return this.leader !== null && nowMs - this.#heardMs <= silenceMsMax
  }

  /** What is committed at the leader, as it said last; it may not be here yet. */
  get heardHighWatermark(): number {
    return this.#highWatermark
  }

  heard(highWatermark: number, nowMs: number): void {
    this.#heardMs = nowMs
    this.#highWatermark = Math.max(this.#highWatermark, highWatermark)
  }
}

interface Named {
  readonly topic: string
  readonly partition: number
}

/** The refusal of a broker that does not lead: who does, as far as it knows. */
export function notLeader({ topic, partition }: Named, leader: number | null, leaderEpoch: number): PlayheadError {
  const found = leader === null ? 'no leader' : `broker ${leader} leading`
  return new PlayheadError(
    'notLeader',
    `${topic}/${partition}: found ${found} in epoch ${leaderEpoch}, wanted this broker to lead; ask the leader, or again later`,
    { leaderEpoch, ...(leader !== null && { leader }) },
  )
}

/** The refusal of a leader that waits for another one to take over: it has not taken the append in. */
export function handingOver({ topic, partition }: Named, leaderEpoch: number): PlayheadError {
  return new PlayheadError(
    'notLeader',
    `${topic}/${partition}: found this broker stopping, wanted one that leads after epoch ${leaderEpoch}; ask who leads in a moment`,
    { leaderEpoch },
  )
}

/** What whoever waits is told when this broker leads no more: the next leader has what it waits for, or nobody ever will. */
export function steppedDown({ topic, partition }: Named, leader: number | null, leaderEpoch: number): PlayheadError {
  const next = leader === null ? 'nobody leads' : `broker ${leader} leads`
  return new PlayheadError(
    'notLeader',
    `${topic}/${partition}: found ${next} in epoch ${leaderEpoch} before this was committed, wanted this broker to lead; whether it takes effect is unknown: send it to the leader again, under the same producer sequence`,
    { leaderEpoch, ...(leader !== null && { leader }), outcome: 'unknown' },
  )
}
