-- Health of sekisho's kinds for Argo CD: put it into argocd-cm under
-- resource.customizations.health.inference.sekisho.dev_InferenceService (and the other kinds).
-- Stalled says that only a change helps; everything else that is not ready is on its way.
local health = {status = "Progressing", message = "waiting for the controller"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready, stalled, reconciling = found["Ready"], found["Stalled"], found["Reconciling"]
local function describe(condition)
  return condition.reason .. ": " .. condition.message
end
local function is_current(condition)
  return condition ~= nil and condition.observedGeneration == obj.metadata.generation
end
if is_current(stalled) and stalled.status == "True" then
  health.status = "Degraded"
  health.message = describe(stalled)
elseif is_current(ready) and ready.status == "True" then
  health.status = "Healthy"
  health.message = describe(ready)
elseif is_current(ready) and ready.status == "False" and not (is_current(reconciling) and reconciling.status == "True") then
  health.status = "Degraded"
  health.message = describe(ready)
elseif is_current(ready) then
  health.message = describe(ready)
end
return health
