/** playhead append: one event, and where it went. */
import type { EventInput } from '../client/index.ts'
import { expectedVersionOf, timeOf } from './arguments.ts'
import { UsageError } from './failure-report.ts'
import type { Session } from './session.ts'

export interface AppendFlags {
  readonly type: string
  readonly data: string
  readonly expectedVersion?: string
  readonly id?: string
  readonly tag: readonly string[]
  readonly time?: string
}

export async function append(session: Session, topic: string, stream: string, flags: AppendFlags): Promise<void> {
  const event: EventInput = {
    type: flags.type,
    data: jsonOf(flags.data),
    tags: flags.tag,
    ...(flags.id !== undefined && { id: flags.id }),
    ...(flags.time !== undefined && { timestamp: timeOf('--time', flags.time) }),
  }
  const expectedVersion = flags.expectedVersion === undefined ? 'any' : expectedVersionOf(flags.expectedVersion)
  await session.connected(async (playhead) => {
    const { partition, offset, version } = await playhead.topic(topic).stream(stream).append(event, { expectedVersion })
    await session.print({ partition, offset, version })
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`--data: found no JSON (${reason}), wanted JSON such as '{"sku":"85123A","quantity":6}'`)
  }
}
