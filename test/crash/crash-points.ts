/**
 * Crash points: every place of the scenario where a broker can be harmed, taken from a run in which nothing is done to it. Neighbours: crash-run.ts
 * makes that run, attacks.ts goes through the points.
 */
import { crashRun } from './crash-run.ts'
import type { Harm, Part } from './crash-run.ts'
import type { Action, SystemCall } from './system-calls.ts'

/** After these somebody may be told; after others, what is there is what the next call finds. */
const telling = new Set(['pwrite64', 'pwritev', 'rename', 'unlink', 'rmdir'])
/** What a disk that fails answers with an error. */
const failing = new Set(['pwrite64', 'pwritev', 'pwritev2', 'write', 'writev', 'fdatasync', 'fsync', 'ftruncate'])

export interface ScenarioCalls {
  readonly part: Part
  readonly calls: readonly SystemCall[]
}

/** One run of each part. Throws if the scenario itself does not end well. */
export async function recordScenario(): Promise<ScenarioCalls[]> {
  return Promise.all(
    (['first', 'second'] as const).map(async (part) => {
      const { calls, findings, ends } = await crashRun(part)
      for (const { errors } of ends) findings.push(errors)
      if (findings.length > 0) throw new Error(`the scenario without any harm: ${findings.join('\n')}`)
      return { part, calls }
    }),
  )
}

export function pointsOf(recorded: readonly ScenarioCalls[], action: Action): Harm[] {
  const points: Harm[] = []
  for (const { part, calls } of recorded) {
    const most = busiestThread(calls)
    const ofFiles = new Map<string, number>()
    for (const { thread, call, ordinal, file } of calls) {
      const counter = `${thread} ${call} ${file}`
      const ofFile = (ofFiles.get(counter) ?? 0) + 1
      ofFiles.set(counter, ofFile)
      if (action === 'error=EIO' && !failing.has(call)) continue
      if (action === 'after' && !telling.has(call)) continue
      const isOpening = /^(open|creat)/.test(call)
      const nameStays = !/[0-9a-f]{8}/.test(file)
      // Only the busiest thread gets to its N-th call first, and all threads open files that are no matter here: of such a call the file tells.
      if (thread === most && !isOpening) points.push({ part, call, when: `${ordinal}`, action })
      else if (nameStays) points.push({ part, call, when: `${ofFile}`, action, file })
      else if (!isOpening) throw new Error(`found ${call} of ${file} by a thread of its own, wanted a name that stays`)
    }
  }
  return points
}

/** The point after the last one of its kind: in another run there may be more. */
export function nextPoint(harm: Harm): Harm {
  return { ...harm, when: `${Number(harm.when) + 1}` }
}

export function textOfPoint({ part, call, when, action, file }: Harm): string {
  return [part, call, when, action, ...(file === undefined ? [] : [file])].join(':')
}

export function pointOfText(text: string): Harm {
  const [part = '', call = '', when = '', action = '', file] = text.split(':')
  const isRight = /^(first|second)$/.test(part) && /^\w+$/.test(call) && /^\d+\+?$/.test(when)
  if (!isRight || (action !== 'before' && action !== 'after' && action !== 'error=EIO'))
    throw new Error(`found ${text}, wanted a point such as second:pwrite64:20:before`)
  return { part: part as Part, call, when, action, ...(file !== undefined && { file }) }
}

function busiestThread(calls: readonly SystemCall[]): number {
  const counts = new Map<number, number>()
  for (const { thread } of calls) counts.set(thread, (counts.get(thread) ?? 0) + 1)
  return [...counts].toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? -1
}
