/**
 * ApplyFailure: the error of an event that a view's function could not take. Names stream, version and offset, so that the author can
 * read that very event. Called by derivation.ts, which drops what is not committed: the view stays where it was.
 */
import type { ReplayRecord, StreamEvent } from '../client/index.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import type { ViewTopic } from './view-definition.ts'

export async function applyFailure(
  view: { readonly name: string; readonly version: number; readonly topic: ViewTopic },
  failed: ReplayRecord,
  reason: unknown,
): Promise<PlayheadError> {
  const { partition, offset, stream } = failed
  const version = stream === null ? undefined : await versionOf(view.topic, stream, offset)
  const at = `partition ${partition}, offset ${offset}`
  const which = stream === null ? at : `${view.topic.name}/${stream} version ${version ?? 'unknown'} (${at})`
  const error = new PlayheadError(
    'viewFailed',
    `view ${view.name} version ${view.version}: ${which}: found ${describe(reason)}, wanted the next state; ` +
      'correct the function and derive again: nothing after the last commit was kept',
    {
      view: view.name,
      partition,
      offset,
      ...(stream !== null && { stream }),
      ...(version !== undefined && { version }),
    },
  )
  error.cause = reason
  return error
}

function describe(reason: unknown): string {
  return reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
}

/**
 * A replayed record does not say its version, but versions of a stream rise with offsets: so we halve. Undefined when the broker cannot be asked
 * now; that must not hide the failure itself.
 */
async function versionOf(topic: ViewTopic, stream: string, offset: number): Promise<number | undefined> {
  try {
    const { firstVersion, lastVersion } = await topic.stream(stream).info()
    let low = firstVersion
    let high = lastVersion
    while (low >= 0 && low <= high) {
      const middle = low + Math.floor((high - low) / 2)
      const event = await eventAt(topic, stream, middle)
      if (event === undefined || event.version === null || event.offset > offset) high = middle - 1
      else if (event.offset === offset) return event.version
      else low = event.version + 1
    }
    return undefined
  } catch (error) {
    if (isPlayheadError(error)) return undefined
    throw error
  }
}

async function eventAt(topic: ViewTopic, stream: string, version: number): Promise<StreamEvent | undefined> {
  for await (const event of topic.stream(stream).read({ from: version, limit: 1 })) return event
  return undefined
}
