// The questionnaire of choosing.md: shows the questions that apply, and the first rule that fits.
(function () {
  "use strict";
  function start() {
    var form = document.querySelector("form.choose");
    if (!form || form.dataset.ready) return;
    form.dataset.ready = "yes";
    var rules = JSON.parse(document.getElementById("choices").textContent);
    var code = form.querySelector("output code");
    var why = form.querySelector("output p");

    function update() {
      var chosen = {};
      form.querySelectorAll("fieldset").forEach(function (field) {
        var condition = field.dataset.if;
        var parts = condition ? condition.split("=") : [];
        field.hidden = Boolean(condition) && parts[1].split("|").indexOf(chosen[parts[0]]) < 0;
        if (field.hidden) return;
        var on = field.querySelector("input:checked");
        chosen[field.dataset.question] = on ? on.value : undefined;
      });
      var rule = rules.find(function (rule) {
        return Object.keys(rule.when).every(function (key) {
          return rule.when[key] === chosen[key];
        });
      });
      code.textContent = rule ? rule.code : "";
      why.textContent = rule ? rule.why : "";
    }

    form.addEventListener("change", update);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    update();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
