/** playhead serve: flags to the broker's settings, and its exit code back. The broker itself is broker/main.ts. */
import { serve as serveBroker } from '../broker/main.ts'
import { UsageError } from './failure-report.ts'
import type { Session } from './session.ts'

/** `options`: the flags that help names. `rest`: all others; every setting of the broker is a flag of the same name. */
export async function serve(
  session: Session,
  options: Record<string, string | boolean>,
  rest: readonly string[],
): Promise<number> {
  const { config, readOnly, ...flags } = options
  return serveBroker({
    flags: { ...flags, ...(readOnly === true && { readOnly: 'yes' }), ...settingFlags(rest) },
    configFile: typeof config === 'string' ? config : undefined,
    json: session.isJson,
  })
}

/** `--in-flight-bytes-max 1048576` or `--in-flight-bytes-max=1048576` → inFlightBytesMax. The broker refuses names it does not know. */
export function settingFlags(rest: readonly string[]): Record<string, string> {
  const flags: Record<string, string> = {}
  for (let index = 0; index < rest.length; index++) {
    const text = rest[index]!
    const [, kebab, , inline] = /^--([a-z][a-z0-9-]*)(=(.*))?$/s.exec(text) ?? []
    if (kebab === undefined)
      throw new UsageError(`serve: found ${JSON.stringify(text)}, wanted flags such as --port 7420`)
    const value = inline ?? rest[++index]
    if (value === undefined) throw new UsageError(`serve: found ${text} without a value, wanted one`)
    flags[kebab.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())] = value
  }
  return flags
}
