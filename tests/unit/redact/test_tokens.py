"""Tokens, addresses, short numbers: look-alikes first."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and tables read better unbroken

import pytest

from tests.unit.redact.texts import found

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nabc+/=\n"


@pytest.mark.parametrize(
    "text",
    [
        "@home", "a @ b", "x@localhost", "a@b", "IBAN GB29NWBK60161331926818", "xGB29NWBK60161331926819", "v1.2.3.4", "バージョン1.2.3.4", "1.2.3.4.5", "127.0.0.1",
        "300.1.2.3", "12:34:56", "std::vector", "a::b", "::1", "aa:bb:cc:dd:ee:ff", "ver 10.0.0.1", "version list 10.2.3.4 x", "x10.0.0.1",
        "mysk-abcdefghijklmnopqrstuvwx", "password: required", "passwordは秘密です", "token", "password=12345678", "sk-short", "1.2.3.4a",
        "-----BEGIN CERTIFICATE-----", "3-1で勝った", "東京都の1-2", "1-2-3", "渋谷の1-2-3", "二丁目", "第1番2", "口座番号は", "口座番号123", "保険者番号12345678",
        "〒123", "東京1-2", "住所1-2", "AB12 3456 7890 1235", "fe:ab:1", "千代田区1の", "保険証を3月に", "保険証を12月に", "被保険者が12人",
    ],
)  # fmt: skip
def test_look_alikes_pass(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("メールはtaro.yamada@example.co.jpです", "taro.yamada@example.co.jp", "email"), ("ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", "email"),
        ("user=taro@example.com", "taro@example.com", "email"), ("1234567@example.com", "1234567@example.com", "email"), ("<a+b@x-y.example>", "a+b@x-y.example", "email"),
        ("GB29 NWBK 6016 1331 9268 19まで", "GB29 NWBK 6016 1331 9268 19", "iban"), ("DE89370400440532013000.", "DE89370400440532013000", "iban"),
        ("DE89370400440532013000 for you", "DE89370400440532013000", "iban"),
        ("10.20.30.40から", "10.20.30.40", "ip-address"), ("2001:db8::1", "2001:db8::1", "ip-address"), ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "ip-address"),
        ("host 10.20.30.40.", "10.20.30.40", "ip-address"),
        ("ghp_" + "a" * 36, "ghp_" + "a" * 36, "secret-key"), ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "secret-key"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.sig-", "eyJhbGciOiJI.eyJzdWIiOiIx.sig-", "secret-key"),
        ("password: hunter2abc", "hunter2abc", "secret-key"), ('{"api_key": "a1b2c3d4e5"}', "a1b2c3d4e5", "secret-key"), ("パスワードは「abc12345」", "abc12345", "secret-key"),
        (PEM + "-----END RSA PRIVATE KEY----- x", PEM + "-----END RSA PRIVATE KEY-----", "secret-key"), (PEM + "。あ", PEM, "secret-key"),
        ("東京都千代田区丸の内１丁目９番２号", "東京都千代田区丸の内１丁目９番２号", "jp-address"), ("本社は横浜市中区本町六丁目50番地の10です", "横浜市中区本町六丁目50番地の10", "jp-address"),
        ("東京都文京区本郷1-2-3 山田ビル401号室へ", "東京都文京区本郷1-2-3 山田ビル401号室", "jp-address"), ("大阪市北区梅田10-20-1501", "大阪市北区梅田10-20-1501", "jp-address"),
        ("住所は本町1-2-3", "本町1-2-3", "jp-address"), ("東京都港区芝1-2-3-0404号室", "東京都港区芝1-2-3-0404号室", "jp-address"),
        ("口座番号は 1234567", "1234567", "bank-account"), ("ゆうちょ 10010-12345671", "10010-12345671", "bank-account"),
        ("保険証の記号 123 番号 4567", "4567", "jp-health-insurance"), ("被保険者 記号・番号 12-345", "12-345", "jp-health-insurance"), ("被保険者番号：1234", "1234", "jp-health-insurance"), ("〒100-0005", "100-0005", "jp-postal-code"),
        ("[[EML-000000000000]]", "[[EML-000000000000]]", "placeholder"),
        ("AB12 09012345678", "09012345678", "phone"),  ("TEL 1.2.3.4 090-1234-5678", "090-1234-5678", "phone"),
    ],
)  # fmt: skip
def test_tokens_are_found_in_every_form(text: str, value: str, category: str) -> None:
    assert (value, category) in found(text)


def test_an_insurers_number_is_found_by_its_check_digit() -> None:
    hits = [digit for digit in range(10) if found(f"保険者番号0613999{digit}")]
    assert len(hits) == 1
    assert found(f"国保の保険者番号は0613999{hits[0]}") == [(f"0613999{hits[0]}", "jp-health-insurance")]


@pytest.mark.parametrize(
    "address",
    [
        "東京都千代田区千代田1番1号 パレスビル3階 301号室", "北海道札幌市中央区北1条西2丁目", "北海道札幌市北区北二十四条西五丁目1番1号", "東京都渋谷区神南1-2-3 シャトー神南203号室",
        "東京都世田谷区世田谷4-21-27 コーポ山田 102", "埼玉県さいたま市浦和区高砂3-15-1 第2ビルB棟201号", "東京都港区六本木六丁目10番1号 六本木ヒルズ森タワー52階",
        "京都府京都市中京区寺町通御池上る上本能寺前町488番地", "新潟県南魚沼郡湯沢町大字湯沢123番地4", "愛知県名古屋市中区三の丸３−１−２", "東京都中央区銀座4-5-6 GINZAビル 7F",
        "東京都港区芝1-2-3 ハイツ桜 1階 2階 3階 4階", "長野県塩尻市若宮2669-26 メゾネット北B", "香川県丸亀市高円寺南3の6の18 URひばり 9-706", "東京都港区芝二丁目5番 プラザ本町 8F", "佐賀県唐津市一の坪7-7-3 リバーサイド東 1011",
    ],
)  # fmt: skip
def test_an_address_is_found_to_its_last_room(address: str) -> None:
    assert found(f"送付先は{address}です") == [(address, "jp-address")]


@pytest.mark.parametrize(
    "address",
    [
        "東京都西多摩郡瑞穂町箱根ケ崎2335",
        "神奈川県横浜市中区日本大通1",
        "京都府京都市中京区寺町通御池上本能寺前町488",
        "長野県北佐久郡軽井沢町軽井沢１３２３",
    ],
)
def test_a_number_alone_behind_a_place_is_an_address(address: str) -> None:
    assert found(f"〒604-8571 {address}です")[-1] == (address, "jp-address")
    assert found(f"送付先：{address}")[-1] == (address, "jp-address")


@pytest.mark.parametrize(
    "text",
    [
        "東京都港区人口26万人",
        "東京都港区店舗数12、",
        "横浜市中区日本大通1",
        "東京都新宿区立小学校29校",
        "市場規模100億円",
        "東京都町内会費500円",
        "東京都内の町工場100",
        "村上春樹12",
    ],
)
def test_what_is_counted_in_a_place_is_no_address(text: str) -> None:
    assert found(text) == []


def test_a_refused_place_does_not_hide_a_number() -> None:
    assert found("市電話番号03-1234-5678") == [("03-1234-5678", "phone")]
    assert found("町会長090 1234 5678") == [("090 1234 5678", "phone")]


@pytest.mark.parametrize("text", ["憲法9条と西側", "第9条西", "東京都の条例2条東", "刑法百条南"])
def test_articles_of_laws_are_no_addresses(text: str) -> None:
    assert found(text) == []


def test_an_address_and_a_telephone_number_side_by_side_are_both_found() -> None:
    assert [kind for _, kind in found("東京都港区芝1-2-3 03-1234-5678")] == ["jp-address", "phone"]
    assert [kind for _, kind in found("東京都港区芝1-2-3-4-5-6 090-1234-5678")] == ["jp-address", "phone"]


@pytest.mark.parametrize(
    "text",
    [
        "logo@2x.png icon@3x.PNG", "版は Chrome/120.0.6099.109", "Ver: 12.16.59.141", '{"firmware": "18.29.86.243"}', "7.6.3.3 はじめに", "・4.8.4.5 概要", "図は1.5.3.8 節",
        "IBAN DE89370400440532013001", "id fd907114-913b-41bf-b770-3c0245e014d4", "dead:1.2.3.4.5", "abc.1.2.3.4", "1:2:3:4:5:6:7:8:9", "(1.2.3.4.5)",
        "部品番号 10.20.30.40", "A1. 1.2.3.4.567",
    ],
)  # fmt: skip
def test_files_versions_and_sections_are_no_addresses(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("info@日本語.example.jp へ", "info@日本語.example.jp", "email"), ("サーバ(212.2.7.183)に接続", "212.2.7.183", "ip-address"), ("接続元IP:100.24.127.17", "100.24.127.17", "ip-address"),
        ("IP：fd00::2810", "fd00::2810", "ip-address"), ("接続元：2001:f6c6:5230:7d7a:ab0:85e4:28f7:7c8e", "2001:f6c6:5230:7d7a:ab0:85e4:28f7:7c8e", "ip-address"),
        ("10.1.2.3:8080 へ", "10.1.2.3", "ip-address"), ("ssh admin@90.192.189.251", "90.192.189.251", "ip-address"), ("IP......192.196.190.142", "192.196.190.142", "ip-address"),
        ("注文番号 1234\n接続元 10.20.30.40", "10.20.30.40", "ip-address"), ("ISBN 4-75-802075-1 接続元 10.20.30.40", "10.20.30.40", "ip-address"), ("IP10.20.30.40", "10.20.30.40", "ip-address"), ("Q1. 接続元IPは\nA1. 178.199.84.88です", "178.199.84.88", "ip-address"),
        ("IBAN_____DE89370400440532013000", "DE89370400440532013000", "iban"),
    ],
)  # fmt: skip
def test_addresses_of_hosts_are_found_beside_signs_and_words(text: str, value: str, category: str) -> None:
    assert found(text) == [(value, category)]


@pytest.mark.parametrize(
    "text",
    [
        "パスワードは8文字以上", "password: ${DB_PASSWORD}", "password: {{ .Values.pw1 }}", "password: <your password1>", "password: getpass.getpass(1)", "password=os.environ.get(PW1)",
        "password: ********", "token expired2", "token = tokenizer.next()", "secret s3bucket", "return self._password @yamada1", "パスワードをWindows11で", "passwords1234", "compass: 12ab34cd",
        "password: required!", "password: userPasswordField", "</password>\n<id>ab12345678</id>", "id,password\nv8.17.38.214,x", "パスワード)\n783-9012a", "https://example.com/a:b1c2d3", "pre-u admin:abc12345",
        "-u 1000:1000", "https://user:${PW1}@git.example.com", "の(パスワード)", "    pass\n\n\n@contextlib.contextmanager", "Pass stdout=PIPE", "pass force_zip64 on", "[_token(names.DEPOT_AUDIENCE1)]", '_token(a1b2c3, "token")', "PREFIX + encode(secret).rst1234", "base64.b64encode(secret)",
        "an API key | `apikey:NAME`", "| `keySecret` | Ed25519 key", "(secret|internal2|x)", "generate_private_key(ec.SECP256R1())", '"api-key")\n@click.argument("name1")', "pass [picklescan](https://example.com/a1)", "ab(パスワード)", "パスワードを", "token abc12345",
    ],
)  # fmt: skip
def test_what_speaks_of_secrets_is_none(text: str) -> None:
    assert "secret-key" not in [kind for _, kind in found(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("パスワード　Sakura!0833", "Sakura!0833"), ("【PW】 himitsu277", "himitsu277"), ("PWはmyO8-Lx%8AoGDiF8です", "myO8-Lx%8AoGDiF8"), ("│ 初期パスワード │ djmXpIGhYk1U │", "djmXpIGhYk1U"),
        ("| PW | 4MFXdyIT1Ywb |", "4MFXdyIT1Ywb"), ("<passwd>natsu758</passwd>", "natsu758"), ("<td>初期パスワード</td>\n  <td>qwerty!9548</td>", "qwerty!9548"), ("<li><b>PW</b>: Z3vIImXHkY$58</li>", "Z3vIImXHkY$58"),
        ('<label>Pass</label><input type="text" value="Admin_4943">', "Admin_4943"), ("パスワード\n> 4MFXdyIT1Ywb", "4MFXdyIT1Ywb"), ("パスワード※必須:qwerty6926", "qwerty6926"),
        ("パスワード（半角）：qwerty6926", "qwerty6926"), ("yGH1aEUb0J#12(仮パスワード)", "yGH1aEUb0J#12"), ("yGH1aEUb0J#12 (Password)", "yGH1aEUb0J#12"), ("himitsu016（PW）", "himitsu016"), ("HyS4hXKnrZtO【Password】", "HyS4hXKnrZtO"), ("《パスワード》himitsu016", "himitsu016"), ("| Pass | himitsu962 |", "himitsu962"), ("passwd: a__e-aGwfiUQjUtH", "a__e-aGwfiUQjUtH"), ("仮パスワードをQR0vZdP86Z!50に設定", "QR0vZdP86Z!50"), ("仮パスワードxrbIOuX31Y$93", "xrbIOuX31Y$93"),
        ("Password on file is 9izxN43L0W?93.", "9izxN43L0W?93"), ("password: LbGUMfnfWRkU", "LbGUMfnfWRkU"), ("APIキーです→qwerty8941", "qwerty8941"), ("APIキー  qwerty8941", "qwerty8941"), ("api key\tqwerty8941", "qwerty8941"),
        ("(password: OjVVSIJtn1XK)", "OjVVSIJtn1XK"), ("password=Rx&k12345&ssn=1", "Rx&k12345"), ("SECRET_KEY = 'ebb3d00375291f7fb63e431a307820b4'", "ebb3d00375291f7fb63e431a307820b4"), ("Password……LqIYqz8XJB", "LqIYqz8XJB"),
        ("パス ワード C9M5Qgdfs789", "C9M5Qgdfs789"), ("https://user:y10fb557jNzV@git.example.com/x", "y10fb557jNzV"), ("curl -u admin:lDx2Q69Iz9dU https://example.com", "lDx2Q69Iz9dU"), ("redis://:himitsu277@cache:6379", "himitsu277"),
        ("mysql -u root -pSakura0833 app", "Sakura0833"), ("id,password\n1,Sakura0833\n2,natsu758", "natsu758"), ("アクセストークンをwhsec_HwkSO3zi3j3XOEiS9KLKtXik99に", "whsec_HwkSO3zi3j3XOEiS9KLKtXik99"),
        ("パスワード: a1b2c3", "a1b2c3"),
    ],
)  # fmt: skip
def test_secrets_are_found_in_every_layout(text: str, value: str) -> None:
    assert (value, "secret-key") in found(text)


def test_the_password_of_a_url_is_no_mail_address() -> None:
    assert [kind for _, kind in found("https://oauth2:ab12cd34ef56@gitlab.example.com/a.git")] == ["secret-key"]
    assert [kind for _, kind in found("see https://example.com/x mail: ana@example.com")] == ["email"]


@pytest.mark.parametrize(
    "text",
    [
        "password => $this->{bindpasswd}", "'password' => $password1,", "key: password\nsha256:662f7662f99d6fce7482936a6d359f019b2d0788ae2ba6b555444837bf3021f0", "digest1(secret)", "バージョン1.2.3.4から1.2.3.5へ", "版数 7.0.1.3", "x_10.20.30.40", "10.20.30.40_x",
        "xGB82WEST12345698765432", "netmask 255.255.255.0", "pip install app==1.2.3.4", "password 7 characters", "IDENTIFIED BY '12345678'", "ID/PASS: admin / secret", "a@я",
    ],
)  # fmt: skip
def test_names_digests_and_versions_pass(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "value", "category"),
    [
        ("nameserver 10.20.30.40", "10.20.30.40", "ip-address"), ("server 10.20.30.40:80", "10.20.30.40", "ip-address"), ("IP _10.20.30.40_", "10.20.30.40", "ip-address"), ("送信元は10.20.30.40から", "10.20.30.40", "ip-address"), ("10.20.30.40から10.20.30.41へ", "10.20.30.40", "ip-address"),
        ("иван.петров@почта.рф へ", "иван.петров@почта.рф", "email"), ("連絡先müller@exämple.deまで", "müller@exämple.de", "email"), ("mail=taro%40example.jp&x=1", "taro%40example.jp", "email"), ("<b>taro&#64;example.jp</b>", "taro&#64;example.jp", "email"),
        ("IBAN _GB82WEST12345698765432__", "GB82WEST12345698765432", "iban"), ("'password' => 'abc12345',", "abc12345", "secret-key"), ("Password:: abc12345", "abc12345", "secret-key"), ('user.setDbPassword("abc12345");', "abc12345", "secret-key"), ("ログインPW（abc12345）", "abc12345", "secret-key"),
        ("SECRET_KEY_BASE=abc12345def", "abc12345def", "secret-key"), ("ENCRYPTION_KEY: abc12345def", "abc12345def", "secret-key"), ("smtp_pass: abc12345", "abc12345", "secret-key"), ("ID/PASS: admin / abc12345", "abc12345", "secret-key"), ("key-0123456789abcdef0123456789abcdef", "key-0123456789abcdef0123456789abcdef", "secret-key"),
        ("CREATE USER a IDENTIFIED BY 'hunter2';", "hunter2", "secret-key"), ("username a password 0 abc12345", "abc12345", "secret-key"), ('{"key": "password", "value": "abc12345"}', "abc12345", "secret-key"), ("- name: DB_PASSWORD\n  value: abc12345", "abc12345", "secret-key"),
        ("https://user:he%2F%2Fo@pypi.example.jp/", "he%2F%2Fo", "secret-key"),
    ],
)  # fmt: skip
def test_tokens_are_found_beside_words_that_look_alike(text: str, value: str, category: str) -> None:
    assert (value, category) in found(text)
