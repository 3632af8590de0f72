/**
 * Attacks: the scenario at many points, several at a time, and the judgement over all of them. Where nothing came of the harm (another run may make a
 * call less) the point counts as missed, not as survived; too many of these fail the whole. Neighbours: crash-points.ts, run.ts.
 */
import { crashRun } from './crash-run.ts'
import type { CrashResult, Harm } from './crash-run.ts'
import { nextPoint, textOfPoint } from './crash-points.ts'
import type { Tally } from './tally.ts'

/** One more than cores: a scenario waits now and then. */
const lanes = 3
const progressEvery = 50
/** Of the points; one of a few may always be missed. */
const missedShareMax = 0.1

export interface Attack {
  readonly fault: string
  readonly points: readonly Harm[]
  /** Go on behind the last point of each kind until nothing is left to harm. */
  readonly beyond: boolean
}

export async function attack({ fault, points, beyond }: Attack, tally: Tally): Promise<void> {
  const left = [...points]
  const last = new Set(beyond ? lastOfEachKind(points) : [])
  let missed = 0
  let done = 0
  const lane = async () => {
    for (let harm = left.shift(); harm !== undefined; harm = left.shift()) {
      if (++done % progressEvery === 0) console.log(`${fault}: point ${done} of ${points.length}, ${textOfPoint(harm)}`)
      const result = await crashRun(harm.part, harm).catch((error: Error) => error)
      if (result instanceof Error) {
        tally.found(`${textOfPoint(harm)}: ${result.stack ?? result.message}`)
        continue
      }
      for (const finding of [...result.findings, ...judgeEnds(harm, result)])
        tally.found(`${textOfPoint(harm)}: ${finding}`)
      if (wasHit(harm, result)) {
        tally.survived(fault, result.operations)
        if (!last.has(harm)) continue
        const next = nextPoint(harm)
        last.add(next)
        left.push(next)
      } else if (points.includes(harm)) missed++
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  console.log(`${fault}: ${points.length} points, ${missed} missed`)
  const missedMax = Math.max(1, points.length * missedShareMax)
  if (missed > missedMax)
    tally.found(`${fault}: found ${missed} of ${points.length} points missed, wanted at most ${missedMax}`)
}

function wasHit(harm: Harm, { ends, calls }: CrashResult): boolean {
  if (harm.action !== 'error=EIO') return ends.some(({ signal }) => signal === 'SIGKILL')
  return calls.some(({ isRefused }) => isRefused)
}

/** A broker that is killed ends by that and nothing else; one that cannot write its log ends by itself, and not well. */
function judgeEnds({ action }: Harm, { ends, calls }: CrashResult): string[] {
  const texts = ends.map(({ code, signal, errors }) => `ended (${code ?? signal}): ${errors}`)
  if (action !== 'error=EIO') return texts.filter((_, at) => ends[at]?.signal !== 'SIGKILL')
  // LMDB is native code and may take its process with it; the next start finds by a marker that it did.
  const ofCache = calls.some(({ isRefused, file }) => isRefused && file.startsWith('cache/'))
  const findings = ofCache ? [] : texts.filter((_, at) => ends[at]?.code === null)
  // A segment that is cut to its size when it is sealed is cut again later: that need not be the end.
  const ofLog = calls.find(({ isRefused, call, file }) => isRefused && file.endsWith('.log') && call !== 'ftruncate')
  if (ofLog !== undefined && ends.length === 0)
    findings.push(`found it going on after ${ofLog.call} of ${ofLog.file} failed, wanted its end`)
  return findings
}

function lastOfEachKind(points: readonly Harm[]): Harm[] {
  const last = new Map<string, Harm>()
  for (const harm of points) {
    const kind = `${harm.part} ${harm.call} ${harm.file}`
    if (Number(harm.when) > Number(last.get(kind)?.when ?? 0)) last.set(kind, harm)
  }
  return [...last.values()]
}
