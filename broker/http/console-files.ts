/**
 * The console: static files at `/`, from the folder console/ of the package. Invariant: nothing of it may load or run what is not in that folder, and no page of
 * another site may frame it: what stands in streams is written by anybody.
 */
import { fileURLToPath } from 'node:url'
import files from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** From the sources as from dist/. */
const folder = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../console/' : '../../../console/', import.meta.url),
)

const demoFolder = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../examples/customer-journey/' : '../../../examples/customer-journey/',
    import.meta.url,
  ),
)
const demoFile = 'online-retail.csv.gz'

/** Functions that users write to fold events run in a worker whose only right is to compile them: see console/story/fold-worker.js. */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')
const sandboxPolicy = "default-src 'none'; script-src 'unsafe-eval'"

/** Files of the console hold nobody's data; the plugin that registers them cannot say so. */
export function isConsoleFile(url: string): boolean {
  return url === '/' || (!url.startsWith('/api/') && /^\/[a-z/-]+\.(html|js|css|svg)$/.test(url))
}

export async function serveConsole(server: FastifyInstance): Promise<void> {
  await server.register(files, {
    root: folder,
    prefix: '/',
    index: ['index.html'],
    cacheControl: false,
    dotfiles: 'ignore',
    wildcard: false,
    globIgnore: ['**/*.md'],
    setHeaders(reply, path) {
      const isSandbox = path.endsWith('fold-worker.js')
      void reply.header('content-security-policy', isSandbox ? sandboxPolicy : pagePolicy)
      void reply.header('x-content-type-options', 'nosniff')
      void reply.header('referrer-policy', 'no-referrer')
      void reply.header('cross-origin-opener-policy', 'same-origin')
      void reply.header('cache-control', 'no-cache')
    },
  })
  server.get(`/demo/${demoFile}`, { config: { replyBytesMax: 0, open: true } }, async (_request, reply) =>
    reply.type('application/gzip').sendFile(demoFile, demoFolder),
  )
}
