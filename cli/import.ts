/** playhead import: a file's rows as events, with a progress bar on a terminal, and what it came to. importFile does the work. */
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { UsageError } from './failure-report.ts'
import { importFile } from './import-file.ts'
import type { ImportFormat, ImportMapping } from './import-mapping.ts'
import { ProgressBar, progressLine } from './progress-bar.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'
import { withUnit } from './text-table.ts'

export interface ImportFlags {
  readonly stream: string
  readonly elseStream?: string
  readonly type: string
  readonly time?: string
  readonly number: readonly string[]
  readonly format?: string
}

export async function importCommand(session: Session, topic: string, file: string, flags: ImportFlags): Promise<void> {
  const mapping = mappingOf(file, flags)
  const bar = new ProgressBar(process.stderr, progressLine)
  let records = 0
  const summary = await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        try {
          return await importFile({
            playhead,
            topic,
            file,
            mapping,
            signal,
            onProgress: (progress) => {
              records = progress.records
              bar.update(progress)
            },
          })
        } catch (error) {
          if (isPlayheadError(error, 'unknownTopic')) throw withNextStep(error, topic)
          throw error
        } finally {
          bar.finish()
        }
      }, signal),
    () => `interrupted after ${withUnit(records, 'row')}; run the same command again to continue`,
  )
  await session.print(summary)
}

function mappingOf(file: string, flags: ImportFlags): ImportMapping {
  const { stream, elseStream, type, time, number } = flags
  if (type === '' || type === '=') throw new UsageError('--type: found no text, wanted a column or =TYPE')
  if (elseStream === '') throw new UsageError('--else-stream: found no text, wanted the name of a stream')
  return {
    format: formatOf(file, flags.format),
    stream,
    type,
    numbers: number,
    ...(elseStream !== undefined && { elseStream }),
    ...(time !== undefined && { time }),
  }
}

function formatOf(file: string, format: string | undefined): ImportFormat {
  if (format === 'csv' || format === 'ndjson') return format
  if (format !== undefined) throw new UsageError(`--format: found ${JSON.stringify(format)}, wanted csv or ndjson`)
  const name = file.toLowerCase().replace(/\.gz$/, '')
  if (name.endsWith('.csv')) return 'csv'
  if (name.endsWith('.ndjson') || name.endsWith('.jsonl')) return 'ndjson'
  throw new UsageError(
    `${file}: found no .csv, .ndjson or .jsonl at the end of the name, wanted --format csv or --format ndjson`,
  )
}

function withNextStep(error: PlayheadError, topic: string): PlayheadError {
  return new PlayheadError(error.code, `${error.message}; playhead topic create ${topic} makes it`, error.details)
}
