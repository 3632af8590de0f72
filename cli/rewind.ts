/** playhead rewind: what moving a named playhead means, partition by partition, and with --execute the move itself. */
import type { PlayheadPosition } from '../client/index.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { placeOf } from './arguments.ts'
import type { Session } from './session.ts'

export interface RewindFlags {
  readonly to: string
  readonly partition?: number
  readonly execute?: boolean
}

export async function rewind(session: Session, topicName: string, name: string, flags: RewindFlags): Promise<void> {
  const place = placeOf('--to', flags.to)
  await session.connected(async (playhead) => {
    const topic = playhead.topic(topicName)
    const named = topic.playhead(name)
    const state = await named.read()
    if (state === undefined) {
      const known = (await topic.playheads()).map((listed) => listed.name).join(', ') || 'none'
      throw new PlayheadError(
        'unknownPlayhead',
        `${topicName}/${name}: found no such playhead, wanted one of this topic (${known}); playhead replay ${topicName} --as ${name} --commit makes it`,
      )
    }
    const targets = await topic.positions(place, flags.partition === undefined ? {} : { partition: flags.partition })
    const partitions = targets.map((target) => planOf(target, state.positions))
    const again = partitions.reduce((sum, { recordsAgain }) => sum + recordsAgain, 0)
    const executed = flags.execute === true
    if (executed) await named.commit(targets, { expectedVersion: state.version })
    await session.print({ topic: topicName, playhead: name, executed, recordsAgain: again, partitions })
    if (!executed) session.note('nothing has moved yet: add --execute')
  })
}

interface PartitionPlan {
  readonly partition: number
  readonly from: number
  readonly to: number
  /** Records that will be seen once more. */
  readonly recordsAgain: number
  /** Records that will not be seen, when it moves forwards. */
  readonly recordsSkipped: number
}

function planOf({ partition, offset }: PlayheadPosition, positions: readonly PlayheadPosition[]): PartitionPlan {
  const from = positions.find((position) => position.partition === partition)?.offset ?? 0
  return {
    partition,
    from,
    to: offset,
    recordsAgain: Math.max(0, from - offset),
    recordsSkipped: Math.max(0, offset - from),
  }
}
