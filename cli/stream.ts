/** playhead stream …: how much of one stream is kept. */
import { confirm } from './confirmation.ts'
import type { Session } from './session.ts'

export interface LimitFlags {
  readonly maxCount?: number
  readonly maxAge?: number
  readonly truncateBefore?: number
}

/** Without flags, what is in force. */
export async function limitStream(session: Session, topic: string, stream: string, flags: LimitFlags): Promise<void> {
  const { maxCount, maxAge: maxAgeMs, truncateBefore } = flags
  const limit = await session.connected((playhead) => {
    const found = playhead.topic(topic).stream(stream)
    if (maxCount === undefined && maxAgeMs === undefined && truncateBefore === undefined) return found.limits()
    return found.limit({
      ...(maxCount !== undefined && { maxCount }),
      ...(maxAgeMs !== undefined && { maxAgeMs }),
      ...(truncateBefore !== undefined && { truncateBefore }),
    })
  })
  await session.print({ topic, stream, ...limit })
}

export async function deleteStream(
  session: Session,
  topic: string,
  stream: string,
  flags: { readonly yes?: boolean },
): Promise<void> {
  if (flags.yes !== true) await ask(topic, stream)
  const { truncateBefore } = await session.connected((playhead) => playhead.topic(topic).stream(stream).delete())
  await session.print({ topic, stream, deleted: true, nextVersion: truncateBefore })
}

async function ask(topic: string, stream: string): Promise<void> {
  const question = `Delete all events of stream ${stream}`
  await confirm({
    command: `stream delete ${topic} ${stream}`,
    name: stream,
    question,
    otherwise: 'nothing deleted',
  })
}
