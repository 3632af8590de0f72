/** playhead read: the events of one stream as NDJSON. */
import type { Consistency, ReadOptions } from '../client/index.ts'
import { eventLine } from '../client/index.ts'
import { timeOf } from './arguments.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'

export interface ReadFlags {
  readonly from?: number
  readonly limit?: number
  readonly backwards?: boolean
  readonly asOf?: string
  readonly knownAt?: string
  readonly consistency?: Consistency
}

export async function read(session: Session, topic: string, stream: string, flags: ReadFlags): Promise<void> {
  const { from, limit, backwards, asOf, knownAt, consistency } = flags
  const options: ReadOptions = {
    ...(from !== undefined && { from }),
    ...(limit !== undefined && { limit }),
    ...(backwards === true && { backwards }),
    ...(asOf !== undefined && { asOf: timeOf('--as-of', asOf) }),
    ...(knownAt !== undefined && { knownAt: timeOf('--known-at', knownAt) }),
    ...(consistency && { consistency }),
  }
  await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        for await (const event of playhead
          .topic(topic)
          .stream(stream)
          .read({ ...options, signal })) {
          const taken = session.out.write(eventLine(event))
          if (taken !== undefined) await taken
        }
        await session.out.flush()
      }, signal),
    () => 'interrupted',
  )
}
