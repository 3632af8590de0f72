/** playhead demo: wires the tour (demo.ts) to the terminal, and Ctrl-C to it. */
import { connectionOptions } from './connection-options.ts'
import { demo } from './demo.ts'
import { ProgressBar, progressLine } from './progress-bar.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'

export async function demoCommand(session: Session): Promise<void> {
  const connection = await connectionOptions(session.options)
  const bar = new ProgressBar(process.stderr, progressLine)
  await interruptible(
    (signal) =>
      demo({
        server: session.givenServer,
        timeoutMs: session.timeoutMs,
        connection,
        signal,
        write: (line) => {
          bar.finish()
          process.stdout.write(`${line}\n`)
        },
        onImport: (progress) => bar.update(progress),
      }),
    () => 'interrupted; what the demo had made on its own is gone',
  )
}
