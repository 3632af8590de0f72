/**
 * playhead bench: connects, makes the topic if there is none, runs one of the four benches and prints what it came to, also when it ended early:
 * then the figures are marked partial and the exit code is 1. Called by program.ts by way of bench-commands.ts.
 */
import { connectionOptions } from '../connection-options.ts'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { PlayheadError, isPlayheadError } from '../../protocol/errors.ts'
import { defaultServer } from '../session.ts'
import type { Session } from '../session.ts'
import { benchReport, clientUse, reportText, serverUse } from './bench-report.ts'
import { BenchRun } from './bench-run.ts'
import { checkAgainstTopic, flagText, ignoredFlags, settingsOfFlags } from './bench-settings.ts'
import type { BenchFlags, BenchSettings, BenchWork } from './bench-settings.ts'
import { consumeBench } from './consume-bench.ts'
import { endToEndBench } from './end-to-end-bench.ts'
import { LiveLine } from './live-line.ts'
import { produceBench } from './produce-bench.ts'
import { streamBench } from './stream-bench.ts'
import { untilAborted } from '../../platform/abort.ts'

/** A broker that has just failed us is not asked for long. */
const lastStatusMs = 1_000

const benches: Readonly<Record<BenchWork, (run: BenchRun) => Promise<void>>> = {
  produce: produceBench,
  consume: consumeBench,
  'end-to-end': endToEndBench,
  stream: streamBench,
}

export async function benchCommand(session: Session, work: BenchWork, flags: BenchFlags): Promise<void> {
  const settings = settingsOfFlags(work, flags)
  for (const name of ignoredFlags(work, flags)) session.note(`note: ${flagText(name)} means nothing to bench ${work}`)
  const ending = new AbortController()
  const onSignal = (): void => ending.abort(new PlayheadError('closed', `bench ${work}: interrupted`))
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  const clients: Playhead[] = []
  try {
    for (let client = 0; client < settings.connections; client++) clients.push(await open(session, ending.signal))
    await runAndReport(session, settings, clients, ending)
  } finally {
    await Promise.all(clients.map((client) => client.close()))
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

async function open(session: Session, signal: AbortSignal): Promise<Playhead> {
  const { timeoutMs } = session
  const options = { clientName: 'playhead-bench', timeoutMs, signal, ...(await connectionOptions(session.options)) }
  return connect(session.givenServer ?? defaultServer, options)
}

async function runAndReport(
  session: Session,
  settings: BenchSettings,
  clients: readonly Playhead[],
  ending: AbortController,
): Promise<void> {
  const first = clients[0]!
  const isTopicOld = await prepareTopic(first, settings, ending.signal)
  const run = new BenchRun(settings, clients, { isTopicOld, timeoutMs: session.timeoutMs, ending })
  const before = await first.status({ signal: run.signal })
  const cpuBefore = process.cpuUsage()
  const failure = await failureOf(run)
  const client = clientUse(cpuBefore)
  const after = await first.status({ timeoutMs: Math.min(lastStatusMs, session.timeoutMs) }).catch(() => undefined)
  if (failure !== undefined && !run.measurement.hasBegun) throw failure
  const report = benchReport({ run, client, server: serverUse(before, after), failure })
  await (session.isJson ? session.print(report) : session.printText(reportText(report, run)))
  if (failure !== undefined) throw failure
  if (settings.work === 'consume' && report.records < settings.records && settings.records !== Infinity) {
    session.note(`note: the topic ended, or the time, before --records ${settings.records}`)
  }
}

/** Runs the bench; undefined, or why it ended early. */
async function failureOf(run: BenchRun): Promise<unknown> {
  const live = new LiveLine(run, process.stderr)
  try {
    await untilAborted(benches[run.settings.work](run), run.signal)
    return undefined
  } catch (error) {
    // What broke first is the reason; the rest broke of it.
    const reason: unknown = run.signal.aborted ? run.signal.reason : error
    run.fail(reason)
    return reason
  } finally {
    live.finish()
  }
}

/** True if the topic was there. @throws PlayheadError `unknownTopic` for a bench that only reads; UsageError, see checkAgainstTopic */
async function prepareTopic(playhead: Playhead, settings: BenchSettings, signal: AbortSignal): Promise<boolean> {
  const { topic, partitions, work } = settings
  try {
    checkAgainstTopic(settings, await playhead.admin.describeTopic(topic, { signal }))
    return true
  } catch (error) {
    if (!isPlayheadError(error, 'unknownTopic')) throw error
    if (work === 'consume') {
      throw new PlayheadError('unknownTopic', `${error.message}; playhead bench produce --topic ${topic} fills it`)
    }
  }
  await playhead.admin.createTopic(topic, { signal, ...(partitions !== undefined && { partitions }) })
  checkAgainstTopic(settings, await playhead.admin.describeTopic(topic, { signal }))
  return false
}
