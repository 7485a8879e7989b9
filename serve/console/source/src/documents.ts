/** The JSON documents of the management port, as far as the console reads them. */

export type Lifecycle =
  | "CONVERTING"
  | "LOADING"
  | "READY"
  | "IDLE"
  | "DRAINING"
  | "FAILED"
  | "RETIRED"
  | "STORED";

export interface Replicas {
  ready: number;
  wanted: number;
  min: number;
  max: number;
}

/** One version of a model; `version` and `called` are null while there is none yet. */
export interface VersionRow {
  name: string;
  version: number | null;
  called: string | null;
  state: Lifecycle;
  default: boolean;
  labels: string[];
  traffic: number;
  executor: string | null;
  runtime: string | null;
  device: string | null;
  device_reason: string | null;
  gpus: string[];
  replicas: Replicas;
  reason: string | null;
  framework: string | null;
  max_rel_error: number | null;
}

/** A new version on its way to all calls. */
export interface Rollout {
  model: string;
  stable: number;
  canary: number;
  state: string;
  percent: number;
  steps: number[];
  began: string;
  since: string;
  reason: string;
  evidence: string[];
}

/** How a model's last rollout went out. */
export interface EndedRollout {
  model: string;
  stable: number;
  canary: number;
  state: string;
  began: string;
  ended: string | null;
  ended_by: string;
  reason: string;
  evidence: string[];
  /** Whether what it led to is still served. */
  holds: boolean;
}

export interface State {
  gateway: { http: string; grpc: string; management: string };
  generation: number;
  followed: boolean;
  stopping: boolean;
  models: VersionRow[];
  rollouts: Rollout[];
  ended_rollouts: EndedRollout[];
}

export interface Caller {
  access: boolean;
  name: string;
  scopes: string[];
}

export interface AccessKey {
  id: string;
  name: string;
  scopes: string[];
  created: string;
  expires: string | null;
  rate_per_s: number | null;
  concurrency: number | null;
}

export interface NewKey {
  name: string;
  scopes: string[];
  lifetime_s: number | null;
}

export interface Difference {
  path: string;
  old: unknown;
  new: unknown;
}

export interface Change {
  model: string;
  /** `fail`: it can't be prepared, and what is served goes on. */
  action: "add" | "change" | "keep" | "retire" | "fail";
  details: string[];
  /** Percent by version; `steps` are those of a rollout that leads there. */
  traffic: { before: Record<string, number>; after: Record<string, number>; steps: number[] } | null;
}

export interface Plan {
  changes: Change[];
  generation: number;
}

export interface TensorSpec {
  name: string;
  datatype: string;
  shape: number[];
}

export interface Signature {
  inputs: TensorSpec[];
  outputs: TensorSpec[];
}

export interface OutputParity {
  name: string;
  signature: string;
  max_abs_error: number;
  max_rel_error: number;
  scale: number;
  class_agreement: number | null;
}

export interface Parity {
  passed: boolean;
  max_abs_error: number;
  max_rel_error: number;
  rtol: number;
  batches: number[];
  seeds: number[];
  outputs: OutputParity[];
  reference: string;
  row_independent: boolean;
  reason: string | null;
  deterministic: boolean;
  edges: { kind: string; outcome: string; signature: string }[];
}

export interface Profile {
  batch_one_ms: number;
  largest_batch: number;
  largest_batch_ms: number;
  load_ms: number | null;
  plain_batch_one_ms: number | null;
  plain_load_ms: number | null;
}

export interface Manifest {
  name: string;
  version: number;
  created: string;
  framework: string;
  source_name: string;
  source_digest: string;
  runtime: string;
  reason: string | null;
  trusted: boolean;
  files: Record<string, { sha256: string; size: number }>;
  signatures: Record<string, Signature>;
  default_signature: string;
  fixed_batch: Record<string, number>;
  opset: number | null;
  precision: string;
  parity: Parity | null;
  row_independent: boolean;
  profile: Profile | null;
  processor: { type: string; [key: string]: unknown } | null;
  handler: { server: string; entry: string } | null;
  labels: string[] | null;
  libraries: Record<string, string>;
  seconds: number;
  licence: string | null;
  notes: string | null;
}

export interface Quantiles {
  p50: number;
  p90: number;
  p99: number;
}

export interface Comparison {
  model: string;
  versions: {
    version: number;
    called: string;
    traffic: number;
    requests: number;
    failed: number;
    /** Further calls, for what the version took for their caller's fault. */
    refused: number;
    /** Errors of its own, by kind. */
    faults: Record<string, number>;
    latency_ms: Quantiles | null;
  }[];
  comparisons: {
    reference: number;
    version: number;
    called: string;
    since: string;
    compared: number;
    agreeing: number;
    /** Errors that only it had, by kind. */
    failures: Record<string, number>;
    dropped: number;
    latency_ms: { reference: Quantiles | null; version: Quantiles | null };
    outputs: {
      name: string;
      rows: number;
      agreeing_rows: number;
      relative_error: (Quantiles & { max: number }) | null;
      /** Answers that can't be held against each other, by why. */
      mismatches: Record<string, number>;
    }[];
  }[];
  rollout: Rollout | null;
}

export interface HistoryEntry {
  number: number;
  created: string;
  by: string;
  why: string;
  changes: { model: string; action: string; differences: Difference[] }[];
  settings: Difference[];
}

export interface ServedEntry {
  number: number;
  since: string;
  by: string;
  generation: number;
  text: string;
}

export interface RolloutEntry {
  number: number;
  at: string;
  by: string;
  stable: number;
  canary: number;
  state: string;
  percent: number;
  reason: string;
}

export interface History {
  generations: HistoryEntry[];
  served: ServedEntry[];
  rollouts: RolloutEntry[];
}

export interface InferOutput {
  name: string;
  datatype: string;
  shape: number[];
  data: unknown[];
}

export interface InferAnswer {
  model_name: string;
  model_version: string;
  outputs: InferOutput[];
}
