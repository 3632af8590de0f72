/** playhead streams: the streams of a topic as NDJSON, by name. */
import type { Session } from './session.ts'
import { interruptible } from './session.ts'

export interface StreamsFlags {
  readonly prefix?: string
  readonly limit?: number
}

export async function streams(session: Session, topic: string, { prefix, limit }: StreamsFlags): Promise<void> {
  const options = { ...(prefix !== undefined && { prefix }), ...(limit !== undefined && { limit }) }
  await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        for await (const { stream, partition, lastVersion } of playhead.topic(topic).streams({ ...options, signal })) {
          const taken = session.out.write(JSON.stringify({ stream, partition, lastVersion }))
          if (taken !== undefined) await taken
        }
        await session.out.flush()
      }, signal),
    () => 'interrupted',
  )
}
