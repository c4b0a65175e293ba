namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What the kinds of facts and decisions are called in journals and answers. A name never changes its meaning; a new kind gets a new
/// name here, and a test fails until it has one.
/// </summary>
internal static class JournalNames
{
    /// <returns>Null for a kind that has no form in the journal.</returns>
    public static string? Of(Fact fact) =>
        fact switch
        {
            ChunkArrived => "chunk_arrived",
            JobCancelled => "job_cancelled",
            JobPaused => "job_paused",
            JobResumed => "job_resumed",
            JobMoved => "job_moved",
            HoldsKnown => "holds_known",
            WorkerSeen => "worker_seen",
            WorkerExpected => "worker_expected",
            WorkerGone => "worker_gone",
            DispatchEnded => "dispatch_ended",
            DispatchReturned => "dispatch_returned",
            DispatchFaulted => "dispatch_faulted",
            ModelProfileKnown => "model_known",
            ChunksEnded => "chunks_ended",
            TasksFailed => "tasks_failed",
            EndingFailed => "ending_failed",
            LimitsChanged => "limits_changed",
            _ => null,
        };

    /// <returns>Null for a kind that has no name.</returns>
    public static string? Of(Decision decision) =>
        decision switch
        {
            SendDispatch => "dispatch",
            EndChunks => "end_chunks",
            FailTasks => "fail_tasks",
            RelegateJob => "relegate_job",
            PromoteJob => "promote_job",
            MoveJob => "move_job",
            DeclareLost => "declare_lost",
            WantWorkers => "want_workers",
            _ => null,
        };

    public static Type? FactOf(string name) =>
        name switch
        {
            "chunk_arrived" => typeof(ChunkArrived),
            "job_cancelled" => typeof(JobCancelled),
            "job_paused" => typeof(JobPaused),
            "job_resumed" => typeof(JobResumed),
            "job_moved" => typeof(JobMoved),
            "holds_known" => typeof(HoldsKnown),
            "worker_seen" => typeof(WorkerSeen),
            "worker_expected" => typeof(WorkerExpected),
            "worker_gone" => typeof(WorkerGone),
            "dispatch_ended" => typeof(DispatchEnded),
            "dispatch_returned" => typeof(DispatchReturned),
            "dispatch_faulted" => typeof(DispatchFaulted),
            "model_known" => typeof(ModelProfileKnown),
            "chunks_ended" => typeof(ChunksEnded),
            "tasks_failed" => typeof(TasksFailed),
            "ending_failed" => typeof(EndingFailed),
            "limits_changed" => typeof(LimitsChanged),
            _ => null,
        };

    public static Type? DecisionOf(string name) =>
        name switch
        {
            "dispatch" => typeof(SendDispatch),
            "end_chunks" => typeof(EndChunks),
            "fail_tasks" => typeof(FailTasks),
            "relegate_job" => typeof(RelegateJob),
            "promote_job" => typeof(PromoteJob),
            "move_job" => typeof(MoveJob),
            "declare_lost" => typeof(DeclareLost),
            "want_workers" => typeof(WantWorkers),
            _ => null,
        };
}
