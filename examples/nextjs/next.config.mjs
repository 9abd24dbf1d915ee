import path from 'node:path'

process.env.NEXT_TELEMETRY_DISABLED = '1' // an example tells nobody that it was built

export default {
  poweredByHeader: false,
  turbopack: { root: path.join(import.meta.dirname, '../..') } // @gohub/client is a directory of this repository
}
