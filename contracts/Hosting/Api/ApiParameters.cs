using Pipeline.Contracts;

namespace Pipeline.Hosting.Api;

/// <summary>Parameters and answers that several operations share.</summary>
public static class ApiParameters
{
    public static readonly IReadOnlyList<string> Classes = [.. Enum.GetValues<LatencyClass>().Select(value => value.Name())];

    public static readonly ApiParameter Job = ApiParameter.Path("id", ApiType.Id, "The job's id.");

    public static readonly ApiParameter Group = ApiParameter.Path(
        "id",
        ApiType.Text(GroupName.LengthMax, GroupName.Pattern),
        "The group's name."
    );

    public static readonly ApiParameter IdempotencyKey = ApiParameter.Header(
        "Idempotency-Key",
        new ApiType("string")
        {
            LengthMin = 1,
            LengthMax = 255,
            Pattern = "^[ -~]+$",
        },
        "The same request under the same key is accepted once and gets the same answer, for 24 hours (draft-ietf-httpapi-idempotency-key). "
            + "A refused request keeps no answer: correct it and send it under the same key."
    );

    public static readonly ApiParameter LastEventId = ApiParameter.Header(
        "Last-Event-ID",
        ApiType.Text(),
        "Goes on after this event: the `id` of the last one that was seen."
    );

    public static readonly IReadOnlyDictionary<string, string> Replayed = new Dictionary<string, string>
    {
        ["Idempotency-Replayed"] = "`true` where an earlier request with this key had been accepted.",
    };

    public static ApiParameter Limit(int most, int byDefault, string of) =>
        ApiParameter.Query("limit", ApiType.Whole(1, most, byDefault), $"At most so many {of}.");

    public static ApiParameter After(ApiType type) =>
        ApiParameter.Query("after", type, "The page that follows this id: the `last_id` of the page before.");
}
